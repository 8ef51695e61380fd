"""What /metrics tells of the models' queues: what runs or waits, and how much may."""

from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class QueueMetrics(Collector):
    """`sequences` tells alias -> how many, at each scrape. A request counts once for each answer
    that is generated for it, as the limit does. `waiting`: alias and class -> requests."""

    def __init__(
        self,
        sequences: Callable[[], Mapping[str, int]],
        limit: int,
        waiting: Mapping[tuple[str, str], int],
    ) -> None:
        self._sequences, self._limit, self._waiting = sequences, limit, waiting

    def describe(self) -> Iterable[Metric]:
        return [self._in_flight(), self._most(), self._in_line()]

    def collect(self) -> Iterator[Metric]:
        family = self._in_flight()
        for alias, count in self._sequences().items():
            family.add_metric([alias], count)
        yield family
        yield self._most()
        family = self._in_line()
        for labels, count in self._waiting.items():
            family.add_metric(labels, count)
        yield family

    def _in_flight(self) -> GaugeMetricFamily:
        text = "Sequences that run on a model or wait for it."
        return GaugeMetricFamily("fjord_sequences_in_flight", text, labels=["alias"])

    def _in_line(self) -> GaugeMetricFamily:
        text = "Requests that wait for their turn on a full engine."
        return GaugeMetricFamily("fjord_requests_waiting", text, labels=["alias", "class"])

    def _most(self) -> GaugeMetricFamily:
        text = "As many sequences may run or wait a model; beyond them a request is refused (503)."
        return GaugeMetricFamily("fjord_queue_limit_sequences", text, value=self._limit)
