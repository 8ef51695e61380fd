"""How much room the data directory's disk has, for /metrics: asked at a scrape, in a thread.

A disk that does not answer (a network's) would stop the event loop, and every stream with it.
"""

import asyncio
import logging
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

log = logging.getLogger("fjord.disk")

WAIT_S: Final = 1.0
"""A scrape waits so long for the disk."""
_GAUGES: Final = {
    "free_bytes": "What is free on the data directory's disk.",
    "size_bytes": "What the data directory's disk holds in all.",
}


class DiskSpace(Collector):
    """`await read()`, then a scrape tells what was read; nothing where the disk did not answer in
    time. Belongs to one event loop."""

    def __init__(
        self, folder: Path, ask: Callable[[Path], tuple[int, int, int]] = shutil.disk_usage
    ) -> None:
        self._folder = folder
        self._ask = ask
        self._asking: asyncio.Future[tuple[int, int, int]] | None = None
        self._known: dict[str, int] = {}
        self._is_told = False
        """The log says that it cannot be read."""

    @property
    def known(self) -> Mapping[str, int]:
        """free_bytes and size_bytes as they were read last; nothing where they could not be."""
        return self._known

    async def read(self) -> None:
        """At most WAIT_S. One thread at a time asks, however many scrapes come."""
        if self._asking is None:
            self._asking = asyncio.ensure_future(asyncio.to_thread(self._ask, self._folder))
        asking = self._asking
        await asyncio.wait([asking], timeout=WAIT_S)
        self._known = {}
        if asking.done():
            self._asking = None if self._asking is asking else self._asking
            self._take(asking)

    def _take(self, asked: "asyncio.Future[tuple[int, int, int]]") -> None:
        if asked.cancelled():
            return
        if (error := asked.exception()) is not None:
            if not self._is_told:
                log.warning("how much room the data directory has cannot be read: %s", error)
            self._is_told = True
            return
        size, _, free = asked.result()
        self._is_told = False
        self._known = {"free_bytes": free, "size_bytes": size}

    def describe(self) -> Iterable[Metric]:
        return [_family(name) for name in _GAUGES]

    def collect(self) -> Iterator[Metric]:
        for name in _GAUGES:
            family = _family(name)
            if name in self._known:
                family.add_metric([], self._known[name])
            yield family


def _family(name: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"fjord_data_{name}", _GAUGES[name])
