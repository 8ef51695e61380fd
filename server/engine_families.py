"""Gauges and counters of engines, which /metrics asks of the fleet at each scrape."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeAlias

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from engines.fleet.status import EngineStatus

Described: TypeAlias = Mapping[str, tuple[str, tuple[str, ...]]]
"""A family's name, without `fjord_engine_`: its help, and its labels beside the engine's key."""
Sample: TypeAlias = tuple[str, tuple[str, ...], float]
"""A family's name, its labels beside the engine's key, its value."""
_Family: TypeAlias = GaugeMetricFamily | CounterMetricFamily


class EngineFamilies(Collector):
    """`samples` tells those of one engine."""

    def __init__(
        self,
        statuses: Callable[[], Iterable[EngineStatus]],
        gauges: Described,
        counters: Described,
        samples: Callable[[EngineStatus], Iterable[Sample]],
    ) -> None:
        self._statuses, self._samples = statuses, samples
        self._gauges, self._counters = gauges, counters

    def describe(self) -> Iterable[Metric]:
        return self._families().values()

    def collect(self) -> Iterator[Metric]:
        families = self._families()
        for engine in self._statuses():
            for name, labels, value in self._samples(engine):
                families[name].add_metric([engine.key, *labels], value)
        yield from families.values()

    def _families(self) -> dict[str, _Family]:
        gauges: dict[str, _Family] = {
            name: GaugeMetricFamily(f"fjord_engine_{name}", text, labels=["engine", *labels])
            for name, (text, labels) in self._gauges.items()
        }
        return gauges | {
            name: CounterMetricFamily(f"fjord_engine_{name}", text, labels=["engine", *labels])
            for name, (text, labels) in self._counters.items()
        }
