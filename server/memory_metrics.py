"""What /metrics tells of kept responses and conversations; it names no owner."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

_GAUGES: Final = {
    "responses": "Responses that are kept; on a site of all its nodes, as the others here.",
    "conversations": "Conversations that are kept.",
    "owners": "Owners of whom something is kept.",
    "bytes": "Sealed bytes of all owners.",
    "fullest_owner_bytes": "Sealed bytes of the owner who has most.",
    "owner_limit_bytes": "As many sealed bytes an owner may have.",
}
_FAILURES: Final = "Tries to keep or read that failed: away, sealed or full."
_BACKGROUND: Final = "Background responses of this process, by state: running or queued."
_LOST: Final = "Background responses found in progress whose process was gone."


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryTold:
    """`kept` by the names of the gauges; one that is missing is not known."""

    kept: Mapping[str, int]
    failures: Mapping[str, int]
    running: int
    queued: int
    lost: int


class MemoryMetrics(Collector):
    """Asks at each scrape."""

    def __init__(self, told: Callable[[], MemoryTold]) -> None:
        self._told = told

    def describe(self) -> Iterable[Metric]:
        return [*map(_gauge, _GAUGES), _failures(), _background(), _lost()]

    def collect(self) -> Iterator[Metric]:
        told = self._told()
        for name in _GAUGES:
            family = _gauge(name)
            if name in told.kept:
                family.add_metric([], told.kept[name])
            yield family
        failures, background, lost = _failures(), _background(), _lost()
        for kind, count in told.failures.items():
            failures.add_metric([kind], count)
        background.add_metric(["running"], told.running)
        background.add_metric(["queued"], told.queued)
        lost.add_metric([], told.lost)
        yield from (failures, background, lost)


def _gauge(name: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"fjord_memory_{name}", _GAUGES[name])


def _failures() -> CounterMetricFamily:
    return CounterMetricFamily("fjord_memory_failures", _FAILURES, labels=["kind"])


def _background() -> GaugeMetricFamily:
    return GaugeMetricFamily("fjord_background_responses", _BACKGROUND, labels=["state"])


def _lost() -> CounterMetricFamily:
    return CounterMetricFamily("fjord_background_lost", _LOST)
