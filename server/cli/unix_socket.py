"""A Unix socket to listen on: a dead server's file is replaced, a living one's is not."""

import contextlib
import errno
import fcntl
import os
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from server.cli.first_start import BACKLOG
from server.refusal import CannotStart

ANSWER_S = 1.0
"""Within which a living server's kernel takes a connection, unless its queue is full."""
TURN_S = 5.0
"""How long another start may hold the folder; it needs milliseconds."""


@contextlib.contextmanager
def unix_socket(path: Path, mode: int) -> Iterator[socket.socket]:
    """It listens, and its file has that mode from the first moment; the file goes at the end.
    Raises CannotStart."""
    try:
        with _turn(path.parent):
            _make_way(path)
            listener = _bound(path, mode)
    except OSError as error:
        why = error.strerror or str(error)
        raise CannotStart(f"--uds {path} cannot be listened on: {why}.") from None
    with listener:
        ours = _identity(path)
        try:
            yield listener
        finally:
            if ours is not None and ours == _identity(path):
                path.unlink(missing_ok=True)


@contextlib.contextmanager
def _turn(folder: Path) -> Iterator[None]:
    """Of two starts at once one sees what the other has made."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _lock(descriptor)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    """Raises BlockingIOError where it is not to be had in time."""
    end = time.monotonic() + TURN_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > end:
                raise
            time.sleep(0.02)


def _make_way(path: Path) -> None:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise CannotStart(f"--uds {path} is there already, and is no socket.")
    if is_answered(path):
        raise CannotStart(f"--uds {path} is another server's, which runs; choose another.")
    path.unlink()


def is_answered(path: Path) -> bool:
    """Whether a living server listens on that socket. Raises OSError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(ANSWER_S)
        try:
            probe.connect(str(path))
        except (TimeoutError, BlockingIOError):
            return True
        except OSError as error:
            if error.errno in (errno.ECONNREFUSED, errno.ENOENT):
                return False
            raise
    return True


def _bound(path: Path, mode: int) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o777 & ~mode)
    try:
        listener.bind(str(path))
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    finally:
        os.umask(mask)
    return listener


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
