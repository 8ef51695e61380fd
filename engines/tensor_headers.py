"""What a safetensors file says of its tensors, without reading them."""

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_LONGEST_HEADER = 100 * 2**20


def safetensors_header(path: Path, longest: int = _LONGEST_HEADER) -> tuple[int, Mapping[str, Any]]:
    """At which byte the tensors begin, and what is told of each. Raises OSError, and ValueError
    for what is none, or has a header of over `longest` bytes."""
    with path.open("rb") as file:
        first = file.read(8)
        if len(first) < 8:
            raise ValueError(f"{path.name} is {'cut short' if first else 'empty'}")
        (length,) = struct.unpack("<Q", first)
        if length > longest:
            raise ValueError(f"{path.name} is no safetensors file")
        header: dict[str, Any] = json.loads(file.read(length))
    header.pop("__metadata__", None)
    return 8 + length, header
