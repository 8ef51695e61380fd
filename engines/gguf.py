"""Read a GGUF file's metadata without loading its weights: names, sizes, the chat template."""

import math
import mmap
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAGIC = b"GGUF"
SCALARS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
STRING, ARRAY = 8, 9
BLOCKS = {
    **{0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34)},
    **{9: (32, 40), 10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210)},
    **{15: (256, 292), 16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18)},
    **{21: (256, 110), 22: (256, 82), 23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4)},
    **{27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2), 34: (256, 54), 35: (256, 66)},
    **{39: (32, 17), 40: (64, 36), 41: (128, 18)},
}
"""A tensor's kind -> the elements and bytes of a block of it."""
U32, U64 = struct.Struct("<I"), struct.Struct("<Q")


class BadGguf(ValueError):
    """The file is no GGUF file that we can read; the message names it and says why."""


@dataclass(frozen=True, slots=True)
class Array:
    """A metadata array that was not unpacked: its element type, length and place in the file."""

    element: int
    length: int
    offset: int


@dataclass(frozen=True, slots=True)
class TensorPlace:
    """What the header says of one tensor; `place` in bytes, from where the tensors begin."""

    name: str
    shape: tuple[int, ...]
    kind: int
    place: int


_UNREADABLE = (OSError, ValueError, struct.error, KeyError, OverflowError, RecursionError)
"""What a file that is damaged, or made to harm, brings about: lengths near 2**63, arrays of arrays
without an end."""


class GgufFile:
    """The metadata of one file; arrays stay packed, since a vocabulary is 150,000 strings."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.kinds: dict[str, int] = {}
        """Of the metadata's values."""
        try:
            with path.open("rb") as file:
                self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            self.metadata: Mapping[str, Any] = self._read_all()
        except _UNREADABLE as error:
            raise BadGguf(f"{path} is no readable GGUF file: {error}") from error

    def get(self, key: str, default: Any = None) -> Any:
        """A value; `{arch}` in the key stands for the model's architecture."""
        arch = self.metadata.get("general.architecture", "")
        return self.metadata.get(key.replace("{arch}", str(arch)), default)

    def token(self, key: str) -> str | None:
        """The text of the token whose id stands under `key` (such as the bos token's)."""
        index, tokens = self.get(key), self.get("tokenizer.ggml.tokens")
        if not isinstance(index, int) or not isinstance(tokens, Array) or index >= tokens.length:
            return None
        offset = tokens.offset
        for _ in range(index):
            offset += 8 + U64.unpack_from(self._bytes, offset)[0]
        return self._string(offset)[0]

    def strings(self, key: str) -> list[str]:
        """The array of strings under `key`; empty where there is none. 0.1 s for a vocabulary."""
        packed = self.get(key)
        if not isinstance(packed, Array) or packed.element != STRING:
            return []
        found, offset = [], packed.offset
        for _ in range(packed.length):
            text, offset = self._string(offset)
            found.append(text)
        return found

    def numbers(self, key: str) -> Sequence[int]:
        """The array of numbers under `key`; empty where there is none."""
        packed = self.get(key)
        if not isinstance(packed, Array) or packed.element not in SCALARS:
            return ()
        form = f"<{packed.length}{SCALARS[packed.element]}"
        return struct.unpack_from(form, self._bytes, packed.offset)

    def tensors(self) -> tuple[Mapping[str, tuple[int, ...]], int]:
        """The shape of every tensor in this file (of a model in parts: of this part), and the
        place at which all that describes them ends."""
        places, end = self.places()
        return {each.name: each.shape for each in places}, end

    def places(self) -> tuple[list[TensorPlace], int]:
        """As `tensors`, one for each that the header names, were it twice."""
        count, offset = U64.unpack_from(self._bytes, 8)[0], self._tensors_at
        places = []
        for _ in range(count):
            name, offset = self._string(offset)
            dimensions = U32.unpack_from(self._bytes, offset)[0]
            shape = struct.unpack_from(f"<{dimensions}Q", self._bytes, offset + 4)
            offset += 4 + 8 * dimensions + 12
            kind, place = struct.unpack_from("<IQ", self._bytes, offset - 12)
            places.append(TensorPlace(name, shape, kind, place))
        return places, offset

    def whole_bytes(self) -> int:
        """The least that this file has when it is whole, by what its header says of the weights
        (of a kind of weight that is not known: without its last tensor)."""
        places, offset = self.places()
        end = 0
        for each in places:
            elements, size = BLOCKS.get(each.kind, (1, 0))
            end = max(end, each.place + math.prod(each.shape) // elements * size)
        alignment = int(self.get("general.alignment", 32))
        return -(-offset // alignment) * alignment + end

    def close(self) -> None:
        self._bytes.close()

    def _read_all(self) -> dict[str, Any]:
        if self._bytes[:4] != MAGIC:
            raise ValueError("it does not begin with GGUF")
        version = U32.unpack_from(self._bytes, 4)[0]
        if version not in (2, 3):
            raise ValueError(f"its version is {version}; versions 2 and 3 are known")
        count, offset, metadata = U64.unpack_from(self._bytes, 16)[0], 24, {}
        for _ in range(count):
            key, offset = self._string(offset)
            if key in metadata:
                raise ValueError(f"it says {key[:60]!r} twice")
            self.kinds[key] = kind = U32.unpack_from(self._bytes, offset)[0]
            metadata[key], offset = self._value(kind, offset + 4)
        self._tensors_at = offset
        return metadata

    def _string(self, offset: int) -> tuple[str, int]:
        start = offset + 8
        end = start + U64.unpack_from(self._bytes, offset)[0]
        return self._bytes[start:end].decode(), end

    def _value(self, kind: int, offset: int) -> tuple[Any, int]:
        if kind == STRING:
            return self._string(offset)
        if kind == ARRAY:
            return self._array(offset)
        scalar = struct.Struct("<" + SCALARS[kind])
        return scalar.unpack_from(self._bytes, offset)[0], offset + scalar.size

    def _array(self, offset: int) -> tuple[Array, int]:
        element = U32.unpack_from(self._bytes, offset)[0]
        length = U64.unpack_from(self._bytes, offset + 4)[0]
        start = offset + 12
        return Array(element, length, start), self._end_of(element, length, start)

    def _end_of(self, element: int, length: int, offset: int) -> int:
        if element == ARRAY:
            for _ in range(length):
                offset = self._array(offset)[1]
            return offset
        if element != STRING:
            return offset + length * struct.calcsize("<" + SCALARS[element])
        unpack, view = U64.unpack_from, self._bytes
        for _ in range(length):
            offset += 8 + unpack(view, offset)[0]
        return offset


def has_classifier(file: GgufFile) -> bool:
    """Whether it makes scores; of a model in parts, of which any may have it, that is believed."""
    if int(file.get("split.count", 1)) > 1:
        return True
    return any(name.startswith("cls.") for name in file.tensors()[0])
