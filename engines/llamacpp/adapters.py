"""The adapters that one llama.cpp engine has, and the words by which a request names one.

llama.cpp has all of them from its start on, and applies to a request that names none the scales of
its start, whatever its slot's cache was read with: so these are 0, and every request names all. It
never computes requests of two adapters in one step, but those of the lower slots first.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from engines.base import Adapter
from engines.llamacpp.adapter_gguf import llamacpp_adapter
from engines.registry.adapters import AdapterUnavailable

log = logging.getLogger("fjord.llamacpp")


class LlamacppAdapters:
    """Those that can be loaded; the others cost their own aliases alone."""

    def __init__(
        self, adapters: Sequence[Adapter], places: Mapping[str, Path], base: Path, folder: Path
    ) -> None:
        """`places`: where each is, by its name; `folder`: to write to. Blocks."""
        found = {
            each.name: _prepared(each, places.get(each.name), base, folder / f"{number}.gguf")
            for number, each in enumerate(adapters)
        }
        self._paths = {name: path for name, path in found.items() if path is not None}
        self._numbers: dict[str, int] = {}
        self.keep(self.names)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._paths)

    @property
    def paths(self) -> list[str]:
        """In the order of llama.cpp's own numbers."""
        return self.paths_of(self._paths)

    def paths_of(self, names: Iterable[str]) -> list[str]:
        return [str(self._paths[name]) for name in names]

    def keep(self, names: Sequence[str]) -> None:
        """llama.cpp has those alone."""
        self._paths = {name: self._paths[name] for name in names}
        self._numbers = {name: number for number, name in enumerate(self._paths)}

    def fields(self, adapter: Adapter | None) -> dict[str, Any]:
        """Of a request. Raises AdapterUnavailable."""
        if adapter is not None and adapter.name not in self._numbers:
            raise AdapterUnavailable
        own = None if adapter is None else adapter.name
        scales = [{"id": n, "scale": float(name == own)} for name, n in self._numbers.items()]
        return {"lora": scales} if scales else {}


def _prepared(adapter: Adapter, place: Path | None, base: Path, to: Path) -> Path | None:
    """None: it cannot be; why, is in the log."""
    if place is None:
        return None
    try:
        return llamacpp_adapter(place, base, to)
    except Exception as error:  # a file that was made to harm brings about any
        log.error("the adapter %s cannot be loaded: %s", adapter.origin, error)
        to.unlink(missing_ok=True)
        return None
