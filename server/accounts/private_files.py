"""Files of the data directory that the server's own user alone may read."""

import os
from pathlib import Path


def write_private(path: Path, text: str) -> None:
    """A line. Raises OSError with the path: nothing is left of a file that could not be written."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text + "\n")
    except OSError as error:
        path.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from None


def read_private(path: Path) -> str | None:
    """None: there is none that this user may read, or it is empty."""
    try:
        return path.read_text("utf-8").strip() or None
    except (OSError, UnicodeDecodeError):
        return None
