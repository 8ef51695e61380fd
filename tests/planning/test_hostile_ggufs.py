"""GGUF files whose lengths are beyond all files: told as such, wherever they are looked at."""

import struct
from pathlib import Path

import pytest

from engines.checking.gguf_model import read_gguf
from engines.planning.facts import FactsUnknown
from engines.planning.stored import facts_of_path

STRING, ARRAY = 8, 9
LONG = struct.pack("<Q", 2**63 - 1)


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def gguf(path: Path, kind: int, value: bytes) -> Path:
    """One key, and after it a second one that is never come to."""
    head = b"GGUF" + struct.pack("<IQQ", 3, 0, 2)
    path.write_bytes(head + text("general.name") + struct.pack("<I", kind) + value + b"\0" * 64)
    return path


HOSTILE = {
    "a long string": (STRING, LONG),
    "a long array of strings": (ARRAY, struct.pack("<I", STRING) + LONG),
    "a long array of numbers": (ARRAY, struct.pack("<I", 4) + LONG),
    "arrays of arrays": (ARRAY, (struct.pack("<I", ARRAY) + struct.pack("<Q", 1)) * 3000),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_it_is_a_file_that_cannot_be_read(tmp_path: Path, name: str) -> None:
    path = gguf(tmp_path / "x.gguf", *HOSTILE[name])
    with pytest.raises(FactsUnknown):
        facts_of_path(path)
    assert read_gguf(path).damage
