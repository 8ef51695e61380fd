"""Brings a file into the machine's memory, before somebody reads it who keeps the interpreter."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import psutil

PIECE_BYTES = 1 << 20
_PART = re.compile(r"-\d{5}-of-(\d{5})\.gguf$")


def read_ahead(path: Path) -> int:
    """Of a GGUF and its other parts. Returns the bytes that were not there and are read now, none
    where they do not fit into what is free. Gives way to other threads. Raises OSError."""
    files = list(_parts(path))
    if sum(file.stat().st_size for file in files) > _free_bytes():
        return 0
    return sum(_read(file) for file in files)


def _free_bytes() -> int:
    return int(psutil.virtual_memory().available)


def _parts(path: Path) -> Iterator[Path]:
    found = _PART.search(path.name)
    if found is None:
        yield path
        return
    stem = path.name[: found.start()]
    yield from path.parent.glob(f"{stem}-?????-of-{found[1]}.gguf")


def _read(file: Path) -> int:
    fresh, buffer = 0, bytearray(PIECE_BYTES)
    with file.open("rb", buffering=0) as opened:
        for start in range(0, file.stat().st_size, PIECE_BYTES):
            if not _is_there(opened.fileno(), start):
                opened.seek(start)
                fresh += opened.readinto(buffer) or 0
    return fresh


def _is_there(file: int, start: int) -> bool:
    """By the first byte of a piece. False where the system cannot tell."""
    flag = getattr(os, "RWF_NOWAIT", None)
    if flag is None:
        return False
    try:
        os.preadv(file, [bytearray(1)], start, flag)
    except OSError:
        return False
    return True
