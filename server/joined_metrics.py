"""What /metrics tells of the machines that have joined this server."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

STATES: Final = ("joined", "away", "lost")


class JoinedMetrics(Collector):
    """`states` tells the state of each machine, at each scrape."""

    def __init__(self, states: Callable[[], Iterable[str]]) -> None:
        self._states = states

    def describe(self) -> Iterable[Metric]:
        return [self._family()]

    def collect(self) -> Iterator[Metric]:
        family, counted = self._family(), Counter(self._states())
        for state in STATES:
            family.add_metric([state], counted[state])
        yield family

    def _family(self) -> GaugeMetricFamily:
        text = "Machines that run parts of this server's engines; lost ones for a day."
        return GaugeMetricFamily("fjord_joined_nodes", text, labels=["state"])
