"""What /metrics tells of the models' queues: sequences that run or wait, and how many may."""

from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class QueueMetrics(Collector):
    """`sequences` tells alias -> how many, at each scrape. A request counts once for each answer
    that is generated for it, as the limit does."""

    def __init__(self, sequences: Callable[[], Mapping[str, int]], limit: int) -> None:
        self._sequences, self._limit = sequences, limit

    def describe(self) -> Iterable[Metric]:
        return [self._in_flight(), self._most()]

    def collect(self) -> Iterator[Metric]:
        family = self._in_flight()
        for alias, count in self._sequences().items():
            family.add_metric([alias], count)
        yield family
        yield self._most()

    def _in_flight(self) -> GaugeMetricFamily:
        text = "Sequences that run on a model or wait for it."
        return GaugeMetricFamily("fjord_sequences_in_flight", text, labels=["alias"])

    def _most(self) -> GaugeMetricFamily:
        text = "As many sequences may run or wait a model; beyond them a request is refused (503)."
        return GaugeMetricFamily("fjord_queue_limit_sequences", text, value=self._limit)
