"""The tensors of a LoRA in PEFT's form, by its file's header: which modules, of which shapes."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from engines.tensor_headers import safetensors_header

LONGEST_HEADER: Final = 32 << 20
"""Bytes: 100,000 tensors, as of a LoRA over every expert of the largest models."""
WIDTHS: Final = {"F64": 8, "F32": 4, "BF16": 2, "F16": 2}
_OF_BASE = re.compile(r"(embed_tokens|lm_head)\.base_layer\.weight$")
"""Copies that PEFT writes of the base's own; vLLM leaves them."""
_NAME = re.compile(r"(?:base_model\.model\.)?(.+)\.(?:lora_([AB])\.weight|lora_embedding_([AB]))")


@dataclass(frozen=True, slots=True)
class LoraModule:
    """What is laid over one matrix, (rank, in) and (out, rank); of fused experts (rank times
    experts)."""

    inputs: int
    outputs: int
    rank: int


def lora_modules(path: Path) -> dict[str, LoraModule]:
    """By the module's name in the model. Raises ValueError with what is wrong, after a file's
    name."""
    try:
        begin, header = safetensors_header(path, LONGEST_HEADER)
        shapes = _shapes(header, path.stat().st_size - begin)
    except (OSError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path.name} cannot be read ({type(error).__name__})") from None
    if not shapes:
        raise ValueError(f"{path.name} has no LoRA's tensors (lora_A, lora_B)")
    return {module: _module(module, sides, path.name) for module, sides in shapes.items()}


def tensor_name(name: str) -> tuple[str, str] | None:
    """Module and side, A or B, of a LoRA's tensor."""
    read = _NAME.fullmatch(name)
    return None if read is None else (read[1], read[2] or read[3])


def _shapes(header: Mapping[str, Any], room: int) -> dict[str, dict[str, tuple[int, ...]]]:
    """Module -> side, A or B -> shape."""
    found: dict[str, dict[str, tuple[int, ...]]] = {}
    for name, tensor in header.items():
        start, end = tensor["data_offsets"]
        shape = tuple(tensor["shape"])
        if not all(type(n) is int and n > 0 for n in shape):
            raise ValueError(f"{name[:120]!r} has no possible shape")
        if (width := WIDTHS.get(tensor["dtype"])) is None:
            raise ValueError(f"{name[:120]!r} is of {str(tensor['dtype'])[:20]}; right: floats")
        if not 0 <= start <= end <= room or end - start != math.prod(shape) * width:
            raise ValueError("the file is cut short, or damaged")
        if (read := tensor_name(name)) is not None:
            sides = found.setdefault(read[0], {})
            if read[1] in sides:
                raise ValueError(f"{name[:120]!r} is the second lora_{read[1]} of its module")
            sides[read[1]] = shape
        elif not _OF_BASE.search(name):
            raise ValueError(f"{name[:120]!r} is no LoRA's tensor (lora_A, lora_B)")
    return found


def _module(module: str, sides: Mapping[str, tuple[int, ...]], file: str) -> LoraModule:
    a, b = sides.get("A"), sides.get("B")
    if a is None or b is None:
        raise ValueError(f"{file} has one of {module[:120]!r}'s lora_A and lora_B, and not both")
    if len(a) != 2 or len(b) != 2 or a[0] != b[1]:
        raise ValueError(f"{file}: lora_A {a} and lora_B {b} of {module[:120]!r} do not meet")
    return LoraModule(inputs=a[1], outputs=b[0], rank=a[0])
