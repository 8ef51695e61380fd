"""A model's folder, or GGUF file, on disk -> ModelFacts: headers alone are read."""

import contextlib
import json
import math
import re
import struct
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from engines.base import Adapter
from engines.gguf import BadGguf, GgufFile
from engines.planning.config import facts_of
from engines.planning.facts import FactsUnknown, ModelFacts
from engines.planning.gguf_facts import gguf_facts
from engines.registry.adapters import WEIGHTS
from engines.tensor_headers import safetensors_header

_OTHER_THAN_WE_KNOW = (
    *(KeyError, TypeError, AttributeError, IndexError, RecursionError),
    *(OverflowError, ZeroDivisionError),
)
"""JSON of another form than ours; a GGUF whose lengths are beyond all files."""
_MTP = re.compile(r"(^|\.)mtp\.")


def facts_of_path(path: Path) -> ModelFacts:
    """Raises FactsUnknown."""
    try:
        return _of_file(path) if path.is_file() else _of_folder(path)
    except (OSError, ValueError, struct.error, *_OTHER_THAN_WE_KNOW) as error:
        raise FactsUnknown(f"{path} cannot be read: {error}") from None


def _of_file(path: Path) -> ModelFacts:
    try:
        with contextlib.closing(GgufFile(path)) as file:
            return gguf_facts(file)
    except BadGguf as error:
        raise FactsUnknown(str(error)) from None


def _of_folder(folder: Path) -> ModelFacts:
    config: dict[str, Any] = json.loads((folder / "config.json").read_text("utf-8"))
    loaded, stored_bytes = _elements(folder, _first_unloaded_layer(config))
    if not loaded:
        raise FactsUnknown(f"{folder} has no safetensors whose headers say their sizes")
    return facts_of(folder.name, config, loaded, stored_bytes)


def _elements(folder: Path, first_unloaded: int | None) -> tuple[Counter[str], int]:
    """By dtype, of all that an engine loads; and the bytes of everything."""
    loaded: Counter[str] = Counter()
    stored_bytes = 0
    for path in shards(folder):
        for name, tensor in safetensors_header(path)[1].items():
            start, end = tensor["data_offsets"]
            stored_bytes += end - start
            if not _is_unloaded(name, first_unloaded):
                loaded[tensor["dtype"]] += math.prod(tensor["shape"])
    return loaded, stored_bytes


def adapters_bytes(adapters: Iterable[Adapter]) -> int:
    """In memory, of folders and files of one's own: what is in 16 bits may become 32. Of the hub's
    nothing is known here."""
    total = 0
    for adapter in adapters:
        path = Path(adapter.path)
        with contextlib.suppress(OSError):
            total += path.stat().st_size if path.is_file() else 2 * (path / WEIGHTS).stat().st_size
    return total


def shards(folder: Path) -> Iterator[Path]:
    """Those that the index names; without an index, all."""
    index = folder / "model.safetensors.index.json"
    if not index.exists():
        yield from sorted(folder.glob("*.safetensors"))
        return
    names = set(json.loads(index.read_text("utf-8"))["weight_map"].values())
    yield from (folder / name for name in sorted(names))


def _first_unloaded_layer(config: Mapping[str, Any]) -> int | None:
    """DeepSeek's layers of multi-token prediction follow the others."""
    return int(config["num_hidden_layers"]) if config.get("num_nextn_predict_layers") else None


def _is_unloaded(name: str, first_unloaded: int | None) -> bool:
    if _MTP.search(name):
        return True
    layer = re.search(r"\.layers\.(\d+)\.", name)
    return first_unloaded is not None and layer is not None and int(layer[1]) >= first_unloaded
