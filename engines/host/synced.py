"""What is on the disk for good."""

import os
from pathlib import Path


def synced(path: Path) -> None:
    """A file's bytes are, or a folder's names. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
