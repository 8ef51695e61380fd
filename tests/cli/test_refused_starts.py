"""What cannot start says why, in plain words, with exit status 2."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.support.command import Fjord
from tests.support.paths import ROOT
from tests.support.serve_process import (
    FJORD,
    ask,
    environment,
    serving,
)

pytestmark = pytest.mark.slow  # processes of their own


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["--registry", "nowhere.yaml"], r"nowhere\.yaml: cannot be read: No such file"),
        (["--profile", "embeded"], r"unknown profile 'embeded'; did you mean 'embedded'"),
        (["--data-dir", "/proc/nowhere"], r"/proc/nowhere cannot be written.*--data-dir"),
        (["--host", "0.0.0.0", "--no-auth"], r"--no-auth .* loopback only"),
        (["--host", "192.0.2.1"], r"192\.0\.2\.1 is no address of this machine"),
        (["--port", "99999"], r"--port 99999 is wrong"),
        (["--log-level", "loud"], r"--log-level 'loud' is wrong"),
        (["--model", "mine"], r"--model mine: right would be NAME=SOURCE"),
        (["--model", "mine=./nowhere"], r"--model mine=\./nowhere: .*nowhere is not there"),
        (["--engine-arg", "a=1"], r"--engine-arg is for the models of --model"),
    ],
)
def test_what_cannot_start_says_why_in_one_line_with_status_2(
    fjord: Fjord, flags: list[str], complaint: str
) -> None:
    status, _, said = fjord("serve", *flags)
    assert status == 2
    assert re.search(complaint, said), said
    assert len(said.splitlines()) == 1
    assert said.startswith("fjord: ")


def test_a_typo_in_the_registry_is_one_line_with_its_place(home: Path, fjord: Fjord) -> None:
    path = home / "model_registry.yaml"
    path.write_text(path.read_text().replace("preload:", "preloaded:"))
    status, _, complaint = fjord("serve")
    assert status == 2
    assert re.search(r"model_registry\.yaml:8: model 'tiny', key 'preloaded'", complaint)
    assert len(complaint.splitlines()) == 1


def test_two_typos_in_the_registry_are_two_lines(home: Path, fjord: Fjord) -> None:
    path = home / "model_registry.yaml"
    path.write_text(path.read_text().replace("preload:", "preloaded:").replace("4K", "4k"))
    status, _, complaint = fjord("serve")
    assert status == 2
    first, second = complaint.splitlines()
    assert re.match(r"fjord: .*\.yaml:6: model 'tiny', key 'context': '4k' is wrong", first)
    assert re.match(r"fjord: .*\.yaml:8: model 'tiny', key 'preloaded'", second)


def test_a_wrong_setting_is_told_in_plain_words(
    fjord: Fjord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FJORD_QUEUE_LIMIT", "0")
    status, _, complaint = fjord("serve", "--port", "99999", "--log-level", "loud")
    assert (status, complaint) == (
        2,
        "fjord: --port 99999 is wrong: the most is 65535.\n"
        "fjord: FJORD_QUEUE_LIMIT '0' is wrong: the least is 1.\n"
        "fjord: --log-level 'loud' is wrong: "
        "right would be 'debug', 'info', 'warning' or 'error'.\n",
    )


@pytest.mark.parametrize("profiles", ["profiles: {mine: {}}", "profiles: {cuda: {}, b: {}}", ""])
def test_ones_own_registry_needs_no_profile_of_a_certain_name(
    home: Path, fjord: Fjord, monkeypatch: pytest.MonkeyPatch, profiles: str
) -> None:
    path = home / "model_registry.yaml"
    path.write_text(path.read_text().split("profiles:")[0] + profiles)
    with serving(home, FJORD_PROFILE="") as server:
        server.until("Ready")


def test_the_documented_whole_file_starts_as_it_stands(home: Path) -> None:
    text = (ROOT / "docs/registry.md").read_text()
    whole = re.search(r"## A whole file\n\n```yaml\n(.*?)```", text, re.DOTALL)
    assert whole is not None
    (home / "model_registry.yaml").write_text(whole[1])
    with serving(home, "--no-auth", FJORD_PROFILE="") as server:
        url = server.url()
        server.until("Ready", within_s=60)
        assert ask(url, model="summariser", max_tokens=4).status_code == 200


def test_a_wrong_environment_variable_is_named_and_a_flag_beats_it(
    fjord: Fjord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FJORD_PORT", "abc")
    status, _, complaint = fjord("serve")
    assert status == 2
    assert complaint.startswith("fjord: FJORD_PORT 'abc' is wrong")
    status, _, complaint = fjord("serve", "--port", "0", "--profile", "nonsense")
    assert "unknown profile 'nonsense'" in complaint


def test_a_refusal_is_no_traceback_in_a_process_of_its_own(home: Path) -> None:
    ended = subprocess.run(
        [*FJORD, "serve", "--no-auth", "--host", "::"],
        cwd=home,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert len(ended.stderr.splitlines()) == 1
