"""`fjord prepare`: weights, ledger and first key without a server."""

from pathlib import Path

import pytest

from tests.support.command import Fjord

pytestmark = pytest.mark.slow  # processes of their own


def test_prepare_makes_the_first_key_and_is_quiet_the_second_time(home: Path, fjord: Fjord) -> None:
    status, said, _ = fjord("prepare")
    key = (home / "data" / "first_key").read_text().strip()
    assert status == 0
    assert "data/first_key" in said
    assert key not in said  # no terminal
    assert fjord("prepare") == (0, "", "")


def test_prepare_keeps_no_key_for_a_server_that_others_reach(
    home: Path, fjord: Fjord, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fjord("prepare", "--host", "0.0.0.0") == (0, "", "")
    monkeypatch.setenv("FJORD_HOST", "::")
    assert fjord("prepare") == (0, "", "")
    assert not (home / "data" / "first_key").exists()
    assert fjord("keys", "list", "--json")[1].strip() == "[]"


MODELS = """\
models:
  first:
    source: ./first.gguf
    engine: llamacpp
    context: 4K
    output: 1K
    preload: true
  second:
    source: ./second.gguf
    engine: llamacpp
    context: 4K
    output: 1K
"""


@pytest.mark.parametrize(
    ("flags", "fetched"),
    [
        ([], ["first.gguf"]),
        (["second"], ["second.gguf"]),
        (["second", "first"], ["second.gguf", "first.gguf"]),
        (["--all"], ["first.gguf", "second.gguf"]),
    ],
)
def test_prepare_fetches_what_is_preloaded_named_or_all(
    home: Path, fjord: Fjord, monkeypatch: pytest.MonkeyPatch, flags: list[str], fetched: list[str]
) -> None:
    monkeypatch.delenv("FJORD_PROFILE")
    (home / "model_registry.yaml").write_text(MODELS)
    for name in ("first", "second"):
        (home / f"{name}.gguf").write_bytes(b"GGUF")
    status, said, complaint = fjord("prepare", *flags)
    assert status == 0, complaint
    told = [line.rsplit("/", 1)[-1] for line in said.splitlines() if line.startswith("weights of")]
    assert told == fetched


def test_prepare_knows_no_other_models_and_makes_nothing_then(home: Path, fjord: Fjord) -> None:
    status, said, complaint = fjord("prepare", "tinyy")
    assert (status, said) == (2, "")
    assert complaint.startswith(
        "fjord: Profile embedded has no model 'tinyy'; did you mean 'tiny'?"
    )
    assert not (home / "data").exists()
