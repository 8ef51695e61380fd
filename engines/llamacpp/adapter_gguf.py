"""A LoRA as llama.cpp reads it: a GGUF that is one is checked, PEFT's folder becomes one."""

import contextlib
import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from engines.gguf import MAGIC, BadGguf, GgufFile
from engines.llamacpp.adapter_form import check_form
from engines.llamacpp.adapter_names import BaseTensors
from engines.registry.adapter_tensors import LoraModule, lora_modules, tensor_name
from engines.registry.adapters import CONFIG, WEIGHTS, adapter_config, read_adapter
from engines.tensor_headers import safetensors_header

ALIGNMENT = 32
_TYPES = {"F32": 0, "F16": 1, "BF16": 0}
"""GGUF's kinds of what is written; bfloat16 becomes float32."""
_STRING, _FLOAT32 = 8, 6
_ALORA = "adapter.alora.invocation_tokens"


def llamacpp_adapter(source: Path, base: Path, to: Path | None) -> Path:
    """A GGUF that goes over `base`: `source` itself, or made of its folder at `to` (None: only
    looked at). Raises ValueError with what is wrong, OSError."""
    try:
        with contextlib.closing(GgufFile(base)) as file:
            tensors = BaseTensors.of(file)
        if source.is_dir():
            return _converted(source, tensors, to)
        _check_gguf(source, tensors)
    except (BadGguf, struct.error, KeyError, TypeError, IndexError) as error:
        raise ValueError(str(error)) from None
    return source


def _check_gguf(path: Path, base: BaseTensors) -> None:
    with contextlib.closing(GgufFile(path)) as file:
        kinds = (file.get("general.type"), file.get("adapter.type"))
        if kinds != ("adapter", "lora"):
            raise ValueError(f"{path.name} is a {str(kinds[0])[:40]}; right would be a LoRA's GGUF")
        if (own := file.get("general.architecture")) != base.architecture:
            raise ValueError(f"{path.name} is for {str(own)[:40]}, its base a {base.architecture}")
        if file.get(_ALORA) is not None:
            raise ValueError(f"{path.name} is an activated LoRA, which is not served here")
        check_form(file)
        if path.stat().st_size < file.whole_bytes():
            raise ValueError(f"{path.name} is cut short")
        _check_pairs(file.tensors()[0], base)


def _check_pairs(shapes: Mapping[str, tuple[int, ...]], base: BaseTensors) -> None:
    names = sorted({name.removesuffix(".lora_a").removesuffix(".lora_b") for name in shapes})
    if not names:
        raise ValueError("it has no tensors")
    for name in names:
        a, b = shapes.get(f"{name}.lora_a"), shapes.get(f"{name}.lora_b")
        if a is None or b is None or len(a) != 2 or len(b) != 2:
            raise ValueError(f"{name[:120]!r} is no pair of matrices, lora_a and lora_b")
        is_embedding = name.startswith("token_embd")  # both the other way about
        inputs, outputs = (b[1], a[1]) if is_embedding else (a[0], b[1])
        base.check(name, inputs, outputs)
        if (a[0] if is_embedding else a[1]) != b[0]:
            raise ValueError(f"the lora_a and lora_b of {name[:120]!r} do not meet")


@dataclass(frozen=True, slots=True)
class _Part:
    """One tensor to write: where it is read, and how."""

    name: str
    shape: tuple[int, int]
    """Rows and columns."""
    dtype: str
    place: int
    rows: Any = None

    @property
    def size(self) -> int:
        return math.prod(self.shape) * (2 if self.dtype == "F16" else 4)

    def written(self, file: BinaryIO) -> bytes:
        width = 4 if self.dtype == "F32" else 2
        file.seek(self.place)
        raw = file.read(math.prod(self.shape) * width)
        if self.rows is not None:
            row = self.shape[1] * width
            starts = (self.rows(index) * row for index in range(self.shape[0]))
            raw = b"".join(raw[start : start + row] for start in starts)
        return _as_float32(raw) if self.dtype == "BF16" else raw


def _as_float32(raw: bytes) -> bytes:
    """bfloat16 is its upper half."""
    wide = bytearray(2 * len(raw))
    wide[2::4], wide[3::4] = raw[0::2], raw[1::2]
    return bytes(wide)


def _converted(folder: Path, base: BaseTensors, to: Path | None) -> Path:
    read_adapter(folder, folder.name)
    alpha = _alpha(adapter_config(folder, folder.name))
    parts = list(_parts(folder / WEIGHTS, base))
    if to is None:
        return folder
    with (folder / WEIGHTS).open("rb") as file, to.open("wb") as out:
        out.write(_head(base.architecture, alpha, parts))
        for part in parts:
            out.write(bytes(-out.tell() % ALIGNMENT))
            out.write(part.written(file))
        out.write(bytes(-out.tell() % ALIGNMENT))
    return to


def _parts(path: Path, base: BaseTensors) -> Iterator[_Part]:
    begin, header = safetensors_header(path)
    stored = {read: tensor for name, tensor in header.items() if (read := tensor_name(name))}
    taken: set[str] = set()
    for module, lora in lora_modules(path).items():
        name = base.named(module)
        if name in taken:
            raise ValueError(f"{module[:120]!r} is the second module for {name!r}")
        taken.add(name)
        base.check(name, lora.inputs, lora.outputs)
        for side, shape in (("A", _a(lora)), ("B", _b(lora))):
            tensor = stored[module, side]
            if (dtype := tensor["dtype"]) not in _TYPES:
                raise ValueError(f"{module[:120]!r} is of {dtype}; right would be F32, F16, BF16")
            yield _Part(
                f"{name}.lora_{side.lower()}",
                shape,
                dtype,
                begin + tensor["data_offsets"][0],
                base.rows(name) if side == "B" else None,
            )


def _a(lora: LoraModule) -> tuple[int, int]:
    return lora.rank, lora.inputs


def _b(lora: LoraModule) -> tuple[int, int]:
    return lora.outputs, lora.rank


def _alpha(config: Mapping[str, Any]) -> float:
    """llama.cpp's, which it divides by a tensor's rank."""
    alpha = config.get("lora_alpha")
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not 0 < alpha < 1e6:
        raise ValueError(f"its {CONFIG} names no lora_alpha")
    if config.get("alpha_pattern"):
        raise ValueError("it has an alpha_pattern, which llama.cpp does not know")
    if not config.get("use_rslora"):
        return float(alpha)
    if config.get("rank_pattern"):
        raise ValueError("it has use_rslora with a rank_pattern, which llama.cpp does not know")
    return float(alpha) * math.sqrt(config["r"])


def _head(architecture: str, alpha: float, parts: list[_Part]) -> bytes:
    """All that stands before the tensors."""
    values = {
        "general.architecture": architecture,
        "general.type": "adapter",
        "adapter.type": "lora",
        "adapter.lora.alpha": alpha,
    }
    out = bytearray(MAGIC + struct.pack("<IQQ", 3, len(parts), len(values)))
    for key, value in values.items():
        out += _text(key)
        if isinstance(value, str):
            out += struct.pack("<I", _STRING) + _text(value)
        else:
            out += struct.pack("<If", _FLOAT32, value)
    place = 0
    for part in parts:
        rows, columns = part.shape
        kind = _TYPES[part.dtype]
        out += _text(part.name) + struct.pack("<IQQIQ", 2, columns, rows, kind, place)
        place += part.size + -part.size % ALIGNMENT
    return bytes(out)


def _text(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw
