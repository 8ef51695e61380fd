"""What a tiny model's model.safetensors holds, read without torch."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def stored_tensors(folder: Path) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """bfloat16 is float32's upper half."""
    data = (folder / "model.safetensors").read_bytes()
    begin = 8 + int.from_bytes(data[:8], "little")
    for name, told in json.loads(data[8:begin]).items():
        if name != "__metadata__":
            first, end = told["data_offsets"]
            halves = np.frombuffer(data[begin + first : begin + end], "<u2").astype(np.uint32)
            yield name, (halves << 16).view(np.float32).reshape(told["shape"])
