"""`fjord doctor --cluster`: what it is given, and what of that is wrong."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from server.cli.doctor.cluster import ports_of
from server.refusal import CannotStart
from tests.support.command import fjord_here
from tests.support.serve_process import with_registry

TOKEN = "a-secret-of-this-test-alone"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return with_registry(tmp_path)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--cluster", "--port=1"], "--listen on one machine, and that machine's HOST:PORT on the"),
        (["--cluster", "--port=1", "--ports=1-40"], "32 at most"),
        (["--node=gpu-2"], "--url, --api-key and --node are for `fjord doctor --cluster` alone"),
        (["gpu-1:8790"], "HEAD:PORT and --listen are for `fjord doctor --cluster`."),
        (["--listen"], "HEAD:PORT and --listen are for `fjord doctor --cluster`."),
        (["--cluster", "gpu-1:x"], "'gpu-1:x' is no HOST:PORT: right would be gpu-1:8790"),
        (["--cluster", ":8790"], "':8790' is no HOST:PORT"),
        (["--cluster", "gpu-1:0"], "'gpu-1:0' is no HOST:PORT"),
        (["--cluster", "[::1]:99999"], "'[::1]:99999' is no HOST:PORT"),
        (["--cluster", "x" * 500 + ":y"], "is no HOST:PORT"),
        (["--cluster", "--listen", "--ports=1-40"], "32 at most"),
        (["--cluster", "--listen", "no.such.host:0"], "--listen no.such.host:0 cannot be"),
        (["--cluster", "--wait=1", "127.0.0.1:1"], "127.0.0.1:1 cannot be reached within 1 s"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(home: Path, args: list[str], words: str) -> None:
    ended = fjord_here(home, "doctor", *args, FJORD_NODE_TOKEN=TOKEN)
    assert ended.returncode == 2
    last = ended.stderr.splitlines()[-1]
    assert words in last
    assert len(last) < 400


def test_a_secret_is_needed_and_never_said(home: Path) -> None:
    ended = fjord_here(home, "doctor", "--cluster", "--listen")
    assert ended.returncode == 2
    assert "--cluster needs a secret" in ended.stderr
    ended = fjord_here(home, "doctor", "--cluster", "--listen", FJORD_NODE_TOKEN="short")
    assert ended.returncode == 2
    assert "short" not in ended.stderr
    assert fjord_here(home, "doctor", "--cluster", "--listen", "--nodes=17").returncode == 2


def test_nobody_comes_and_that_is_the_finding(home: Path) -> None:
    (home / "token").write_text(f"{TOKEN}\n")
    args = ("--listen", "127.0.0.1:0", "--wait=1", f"--node-token-file={home / 'token'}")
    ended = fjord_here(home, "doctor", "--cluster", *args)
    assert ended.returncode == 1
    assert "BAD  machines   0 of 1 others came within 1 s" in ended.stdout
    assert max(map(len, ended.stdout.splitlines())) <= 80
    assert ended.stdout.endswith("\n1 to mend.\n")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("29500", [29500]),
        ("", []),
        ("1,65535,1", [1, 65535]),
        ("5000-5003,29500", [5000, 5001, 5002, 5003, 29500]),
        ("1-32", list(range(1, 33))),
    ],
)
def test_ports_and_ranges(text: str, found: list[int]) -> None:
    assert list(ports_of(text)) == found


@pytest.mark.parametrize(
    "text", ["0", "65536", "5-4", "a", "1-", "-1", "1-33", "1--2", "٣", "1-65535", "9" * 5000]
)
def test_what_is_no_port_or_too_many_is_refused(text: str) -> None:
    with pytest.raises(CannotStart, match="32 at most") as refused:
        ports_of(text)
    assert len(str(refused.value)) < 250


def test_no_bytecode_of_torch_is_needed_to_look(home: Path) -> None:
    """It is imported in the child of a handshake alone."""
    code = "import server.cli.doctor.command, sys; print('torch' in sys.modules)"
    argv = [sys.executable, "-c", code]
    assert subprocess.run(argv, capture_output=True, text=True, env=os.environ).stdout == "False\n"
