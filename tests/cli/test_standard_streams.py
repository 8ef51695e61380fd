"""The commands in a pipe, without a stream, and under another encoding than UTF-8."""

import shlex
import subprocess
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tests.support.serve_process import FJORD, environment, fjord
from tests.support.serving import make_key

pytestmark = pytest.mark.slow  # processes of their own

NO_UTF8 = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def in_shell(home: Path, line: str) -> "subprocess.CompletedProcess[str]":
    """`fjord` in the line is the command."""
    return subprocess.run(
        ["bash", "-c", line.replace("fjord", shlex.join(FJORD), 1)],
        cwd=home,
        env=environment(COLUMNS="80"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def home(tmp_path: Path) -> Path:
    make_key(tmp_path / "data", name="blåbær")
    return tmp_path


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_stream_that_is_closed_is_the_null_device(home: Path, closed: str) -> None:
    ended = in_shell(home, f"fjord keys list {closed}")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ("blåbær" in ended.stdout) == (">&- " not in f"{closed} ".replace("2>&-", ""))


@pytest.mark.parametrize("command", ["keys list --json", "usage --json", "--help"])
def test_who_reads_no_further_is_told_nothing(home: Path, command: str) -> None:
    ended = in_shell(home, f"fjord {command} | true; exit ${{PIPESTATUS[0]}}")
    assert ended.returncode in (0, 1)  # 0: it was all in the pipe by then
    assert ended.stderr == ""


def test_files_are_utf8_whatever_the_locale(home: Path) -> None:
    registry = ["--registry", str(ROOT / "model_registry.yaml")]
    shown = fjord(home, "plan", "--gpus", "2x24", "--profile", "small", *registry, **NO_UTF8)
    assert shown.returncode == 0, shown.stderr
    assert "GPU 0" in shown.stdout


def test_what_an_encoding_lacks_becomes_a_question_mark(home: Path) -> None:
    shown = fjord(home, "keys", "list", PYTHONIOENCODING="ascii", **NO_UTF8)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "b" in shown.stdout


def test_prune_asks_nobody_at_no_terminal(home: Path) -> None:
    refused = fjord(home, "prune", "--before", "2026-01-01")
    assert refused.returncode == 2
    assert refused.stderr.startswith("fjord: fjord prune deletes only what it is told to")
    elsewhere = fjord(home, "prune", "--before", "2026-01-01", "--data-dir", "nowhere")
    assert "There is no ledger" in elsewhere.stderr


@pytest.mark.parametrize(
    "command",
    ["usage --owner", "models load", "keys create --name", "keys create --name a --models"],
)
def test_an_argument_that_is_no_text_is_told(home: Path, command: str) -> None:
    """Python keeps its bytes as half characters; a model of such a name broke the admin API's
    list of keys."""
    ended = in_shell(home, f"fjord {command} $'\\xffab'")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert len(ended.stderr.splitlines()) == 1
