"""What a killed process leaves under the temporary folder is removed by the next one."""

import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from engines.host.private_folder import LOCK, PrivateFolder
from tests.support.paths import ROOT

CHILD = """
import sys, time
from engines.host.private_folder import PrivateFolder
folder = PrivateFolder()
(folder.path / "llama.sock").touch()
print(folder.path, flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)  # it is remembered from the first question on
    return tmp_path


def test_a_folder_is_private_and_goes_with_its_owner(temporary: Path) -> None:
    with PrivateFolder() as path:
        assert path.parent == temporary
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert not path.exists()


def test_only_folders_of_the_dead_are_removed(temporary: Path) -> None:
    (temporary / "fjord-notes").mkdir()
    (temporary / "fjord-brief.md").touch()
    (temporary / "fjord-link").symlink_to(temporary / "fjord-notes")
    with subprocess.Popen(
        [sys.executable, "-c", CHILD],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        theirs = Path(child.stdout.readline().strip())
        with PrivateFolder():
            assert (theirs / LOCK).exists()
            child.kill()
            child.wait()
        assert (theirs / "llama.sock").exists()
        with PrivateFolder() as ours:
            left = {path.name for path in temporary.iterdir()}
            assert left == {ours.name, "fjord-notes", "fjord-brief.md", "fjord-link"}
