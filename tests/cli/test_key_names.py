"""Keys by their names, and questions before what cannot be undone."""

import json
import os
import pty
import subprocess
from pathlib import Path

import pytest

from server.ledger.sqlite import prepared_ledger
from tests.support.command import fjord_here as fjord
from tests.support.key_commands import keys, refused
from tests.support.serve_process import FJORD, environment, with_registry


@pytest.fixture(autouse=True)
def ledger_file(tmp_path: Path) -> Path:
    """Commands find a ledger; none of them makes one."""
    return prepared_ledger(tmp_path)


def test_a_key_is_found_by_its_name_where_one_has_it(tmp_path: Path) -> None:
    first, other = (keys(tmp_path, "create", "--name", n) for n in ("website", "portal"))
    assert keys(tmp_path, "show", "website")["key_id"] == first["key_id"]
    assert keys(tmp_path, "update", "portal", "--burst", "3")["key_id"] == other["key_id"]
    assert keys(tmp_path, "rotate", "website")["key_id"] == first["key_id"]
    assert keys(tmp_path, "revoke", "website")["state"] == "revoked"
    again = keys(tmp_path, "create", "--name", "website")  # a revoked one does not hide it
    assert keys(tmp_path, "show", "website")["key_id"] == again["key_id"]
    assert keys(tmp_path, "show", first["key_id"])["state"] == "revoked"
    keys(tmp_path, "create", "--name", "website", "--owner", "acme")
    said = refused(tmp_path, "revoke", "website")
    assert "2 keys are called 'website'" in said
    assert again["key_id"] in said
    assert "did you mean 'portal'?" in refused(tmp_path, "show", "portl")


@pytest.mark.parametrize(("typed", "flags", "state"), [
    ("n\n", [], "active"), ("y\n", [], "revoked"), ("", ["--yes"], "revoked"),
])  # fmt: skip
def test_revoking_at_a_terminal_asks_first(
    tmp_path: Path, typed: str, flags: list[str], state: str
) -> None:
    keys(tmp_path, "create", "--name", "website")
    ours, theirs = pty.openpty()
    os.write(ours, typed.encode())
    command = [*FJORD, "keys", "revoke", "website", "--data-dir", str(tmp_path), *flags]
    done = subprocess.run(
        command, stdin=theirs, capture_output=True, text=True, timeout=60, env=environment()
    )
    os.close(ours)
    os.close(theirs)
    assert ("for ever?" in done.stdout) == bool(typed)
    assert (done.returncode == 0) == (state == "revoked")
    assert keys(tmp_path, "show", "website")["state"] == state


@pytest.mark.slow
def test_a_models_name_misspelt_is_refused_and_a_strange_one_warned_of(tmp_path: Path) -> None:
    home = with_registry(tmp_path)
    prepared_ledger(home / "data")
    asked = ["keys", "create", "--name", "k", "--json", "--models"]
    for models, said in (
        ("tiny", ""),
        ("tiny,zzz", "has no model 'zzz'. It may be used"),
    ):
        done = fjord(home, *asked, models)
        assert json.loads(done.stdout)["models"] == sorted(models.split(","))
        assert said in done.stderr
        assert bool(said) == bool(done.stderr)
    done = fjord(home, *asked, "tiny,tinny")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith(" has no model 'tinny'; did you mean 'tiny'?\n")
    made = keys(home / "data", "list")
    assert [key["models"] for key in made] == [["tiny"], ["tiny", "zzz"]]
    (home / "model_registry.yaml").write_text("models: [")
    assert fjord(home, *asked, "tinny").stderr == ""


@pytest.mark.slow
def test_the_tables_of_keys_and_usage_are_whole_at_80_columns(tmp_path: Path) -> None:
    home = with_registry(tmp_path)
    prepared_ledger(home / "data")
    name, models = "the website of a customer", ",".join(f"some-model-{i}" for i in range(9))
    fjord(home, "keys", "create", "--name", name, "--budget", "500 NOK/month", "--models", models)
    shown = fjord(home, "keys", "list").stdout
    assert max(map(len, shown.splitlines())) <= 80
    assert not set(shown) & set("│…┃")
    flat = "".join(shown.split())
    for words in (name, "500 NOK/month", models):
        assert "".join(words.split()) in flat
    shown = fjord(home, "keys", "show", name).stdout
    assert max(map(len, shown.splitlines())) <= 80
    assert "some-model-8" in shown
