"""`requirements/install.py`: pip's own progress as one moving line."""

import importlib.util
import os
import pty
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

from tests.support.paths import ROOT

SCRIPT = ROOT / "requirements/install.py"
SAID = """\
Collecting torch==2.13.0 (from -r requirements/cpu.txt (line 3))
  Downloading https://files.example/torch-2.13.0-cp311-cp311-linux_x86_64.whl (180.1 MB)
Progress 0 of 200
Progress 100 of 200
Collecting rich
  Using cached rich-15.0.0-py3-none-any.whl (310 kB)
Installing collected packages: rich, torch
Successfully installed rich-15.0.0 torch-2.13.0
"""


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("install", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_package_and_a_large_ones_share_are_told() -> None:
    assert list(script().steps(SAID.splitlines())) == [
        "    package 1: torch-2.13.0",
        "    package 1: torch-2.13.0, 0%",
        "    package 1: torch-2.13.0, 50%",
        "    package 2: rich-15.0.0",
        "    unpacking 2 packages ...",
    ]


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    path = tmp_path / "fjord_probe-1.0-py3-none-any.whl"
    folder = "fjord_probe-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("fjord_probe.py", "")
        file.writestr(
            f"{folder}/METADATA", "Metadata-Version: 2.1\nName: fjord-probe\nVersion: 1.0\n"
        )
        file.writestr(
            f"{folder}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        file.writestr(f"{folder}/RECORD", "")
    return path


@pytest.mark.slow
def test_at_a_terminal_a_line_moves_and_in_a_pipe_all_is_quiet(wheel: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "--no-index", "--target", str(tmp_path / "there")]
    ours, theirs = pty.openpty()
    done = subprocess.run(
        [*command, str(wheel)], stdout=theirs, stderr=subprocess.PIPE, timeout=120
    )
    os.close(theirs)
    shown = os.read(ours, 65536).decode()
    os.close(ours)
    assert (done.returncode, done.stderr) == (0, b"")
    assert "package 1: fjord_probe-1.0" in shown
    assert shown.endswith("\r\x1b[K")
    assert (tmp_path / "there/fjord_probe.py").exists()
    quiet = subprocess.run([*command, "--upgrade", str(wheel)], capture_output=True, timeout=120)
    assert (quiet.returncode, quiet.stdout) == (0, b"")


def test_what_pip_refuses_is_shown_with_its_status(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "--no-index", "fjord-is-nowhere"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "fjord-is-nowhere" in done.stderr
