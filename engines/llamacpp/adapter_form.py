"""A LoRA's GGUF as llama.cpp reads one: what it refuses there ends its whole process, the base and
all adapters beside (ggml's gguf.cpp, llama-adapter.cpp)."""

import math
from collections.abc import Sequence
from typing import Final

from engines.gguf import BLOCKS, GgufFile, TensorPlace

_UINT32, _FLOAT32 = 4, 6
_ALPHA, _ALIGNMENT = "adapter.lora.alpha", "general.alignment"
_KINDS: Final = frozenset({0, 1, 2, 3, 6, 7, 8, *range(10, 15), 30})
"""Floats of 32 and 16 bits, and quantised ones that every device multiplies with."""
_LONGEST_NAME: Final = 63
"""Bytes."""
_LARGEST: Final = 2**31
"""Of a tensor's sizes."""


def check_form(file: GgufFile) -> None:
    """Raises ValueError with what is wrong."""
    _check_alpha(file)
    alignment = file.get(_ALIGNMENT, 32)
    if file.kinds.get(_ALIGNMENT, _UINT32) != _UINT32 or alignment.bit_count() != 1:
        raise ValueError(f"its {_ALIGNMENT} is no power of two in 32 bits")
    places = file.places()[0]
    for each in places:
        _check_tensor(each)
    _check_once([each.name for each in places])
    _check_places(places, alignment)


def _check_alpha(file: GgufFile) -> None:
    if _ALPHA not in file.kinds:
        return
    if file.kinds[_ALPHA] != _FLOAT32 or not 0 <= file.get(_ALPHA) < 1e6:
        raise ValueError(f"its {_ALPHA} is no 32-bit float from 0 to 1,000,000")


def _check_tensor(tensor: TensorPlace) -> None:
    named = repr(tensor.name[:120])
    if len(tensor.name.encode()) > _LONGEST_NAME:
        raise ValueError(f"{named}: a tensor's name has {_LONGEST_NAME} bytes at most")
    if not tensor.shape or not all(0 < size < _LARGEST for size in tensor.shape):
        raise ValueError(f"{named} has no possible shape")
    if tensor.kind not in _KINDS:
        raise ValueError(f"{named} is of kind {tensor.kind}; right would be F32, F16, BF16 or Q8_0")
    if tensor.shape[0] % BLOCKS[tensor.kind][0]:
        raise ValueError(f"{named} has rows of {tensor.shape[0]}, no whole blocks of its kind")


def _check_once(names: Sequence[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"it has {name[:120]!r} twice")
        seen.add(name)


def _check_places(tensors: Sequence[TensorPlace], alignment: int) -> None:
    """One behind the other, in their order."""
    expected = 0
    for each in tensors:
        if each.place != expected:
            raise ValueError(f"{each.name[:120]!r} lies at {each.place}; right would be {expected}")
        elements, size = BLOCKS[each.kind]
        end = each.place + math.prod(each.shape) // elements * size
        expected = end + -end % alignment
