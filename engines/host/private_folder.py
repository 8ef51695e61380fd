"""Folders for this process alone, under the system's temporary folder; and what a killed process
left there is removed as the next one is made. Not for Windows."""

import contextlib
import os
import shutil
import tempfile
from pathlib import Path
from types import TracebackType

PREFIX = "fjord-"
LOCK = "in-use"
"""Locked for as long as the process lives, however it ends. Unlike a pid this holds between
containers that share the folder."""


class PrivateFolder:
    """`path` is 0700 and exists until `remove`."""

    def __init__(self) -> None:
        remove_abandoned()
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX))
        self._lock = _locked(self.path)

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> Path:
        return self.path

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.remove()


def remove_abandoned() -> None:
    """Ours by owner and name, and locked by nobody."""
    for folder in Path(tempfile.gettempdir()).glob(PREFIX + "*"):
        with contextlib.suppress(OSError):  # it is another's, or in use, or gone meanwhile
            _remove_if_abandoned(folder)


def _remove_if_abandoned(folder: Path) -> None:
    import fcntl

    if folder.lstat().st_uid != os.getuid() or folder.is_symlink():
        return
    lock = os.open(folder / LOCK, os.O_RDWR | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)


def _locked(folder: Path) -> int:
    """The lock gets its name when it is held: nobody ever sees it free in between."""
    import fcntl

    lock = os.open(folder / ".new", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    (folder / ".new").rename(folder / LOCK)
    return lock
