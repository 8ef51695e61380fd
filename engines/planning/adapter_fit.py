"""Whether an adapter's files go with the engine that they are laid over."""

import re
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from engines.base import Adapter
from engines.planning.stored import shards
from engines.registry.adapter_tensors import LoraModule, lora_modules
from engines.registry.adapters import WEIGHTS, read_adapter, unable
from engines.tensor_headers import safetensors_header

_PLAIN = frozenset({"F64", "F32", "BF16", "F16", "F8_E4M3", "F8_E5M2"})
"""Stored as matrices of their own shape; what is packed says another one."""
_LAYER = re.compile(r"(.*?)layers\.(\d+)\.")


def check_adapter(adapter: Adapter, folder: Path, args: Mapping[str, Any], base: Path) -> None:
    """Against vLLM's arguments and the base's folder (what is none is not looked at). Raises
    ValueError with what is wrong."""
    rank, _ = read_adapter(folder, adapter.origin)
    wrong = unable(args, rank) or misfit(folder, base)
    if wrong is not None:
        raise ValueError(f"{adapter.origin!r}: {wrong}")


def misfit(folder: Path, base: Path) -> str | None:
    """The first module that the base has otherwise, or not. None: it fits, as far as the base's
    own headers say its shapes: those of what is packed, and under other names, they do not."""
    try:
        shapes = _shapes(base)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, struct.error):
        return None
    modules = lora_modules(folder / WEIGHTS)
    if not any(module in shapes for module in modules):
        return None
    deepest = _deepest(shapes)
    complaints = (_complaint(name, module, shapes, deepest) for name, module in modules.items())
    return next((complaint for complaint in complaints if complaint is not None), None)


def _complaint(
    name: str,
    module: LoraModule,
    shapes: Mapping[str, tuple[int, ...] | None],
    deepest: Mapping[str, int],
) -> str | None:
    if name not in shapes:
        where, layer = _layer(name)
        last = deepest.get(where, layer)
        return f"{name[:120]!r} is beyond the base's {last + 1} layers" if layer > last else None
    own = shapes[name]
    if own is None or len(own) != 2 or own in _laid_over(name, module):
        return None
    found = f"{name[:120]!r} is of {module.outputs} x {module.inputs}"
    return f"{found}; the base's of {own[0]} x {own[1]}"


def _laid_over(name: str, module: LoraModule) -> tuple[tuple[int, int], ...]:
    """What its base may be: an embedding's matrix is the other way about."""
    own = (module.outputs, module.inputs)
    return (own, own[::-1]) if name.endswith("embed_tokens") else (own,)


def _deepest(names: Iterable[str]) -> dict[str, int]:
    """What stands before a model's layers -> the last of them: a model that sees has two such."""
    found: dict[str, int] = {}
    for where, layer in map(_layer, names):
        found[where] = max(layer, found.get(where, 0))
    return found


def _layer(name: str) -> tuple[str, int]:
    found = _LAYER.match(f"{name}.")
    return (found[1], int(found[2])) if found else ("", 0)


def _shapes(base: Path) -> dict[str, tuple[int, ...] | None]:
    """Module -> its matrix; None: it is packed, in whatever form."""
    found: dict[str, tuple[int, ...] | None] = {}
    for shard in shards(base):
        for name, tensor in safetensors_header(shard)[1].items():
            module, _, part = name.rpartition(".")
            is_plain = part == "weight" and tensor["dtype"] in _PLAIN
            if is_plain or module not in found:
                found[module] = tuple(tensor["shape"]) if is_plain else None
    return found
