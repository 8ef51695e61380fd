"""What /metrics tells of the ledger: what waits for the disk, and for the site's database."""

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from server.ledger.backlog import Backlog, SiteBacklog

_GAUGES: Final = {
    "queued_writes": "Entries and records that wait for the ledger's disk.",
    "lag_seconds": "How long the oldest finished record has waited for the disk.",
    "last_commit_timestamp_seconds": "When the ledger last wrote something, in unix seconds.",
    "refusing": "1 while new work is refused because usage cannot be recorded.",
    "unshipped_records": "Records that the site's database does not have yet.",
    "set_aside_records": "Records that the site's database refused.",
    "site_contact_timestamp_seconds": "When the site's database was last reached, in unix seconds.",
}


class LedgerMetrics(Collector):
    """Asks for the backlog at each scrape. What is not known (a site that there is none of, a
    commit that was not yet) has a name and no value."""

    def __init__(self, backlog: Callable[[], Backlog]) -> None:
        self._backlog = backlog

    def describe(self) -> Iterable[Metric]:
        return [_family(name) for name in _GAUGES]

    def collect(self) -> Iterator[Metric]:
        values = dict(_samples(self._backlog()))
        for name in _GAUGES:
            family = _family(name)
            if (value := values.get(name)) is not None:
                family.add_metric([], value)
            yield family


def _family(name: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"fjord_ledger_{name}", _GAUGES[name])


def _samples(backlog: Backlog) -> Iterator[tuple[str, float | None]]:
    yield "queued_writes", backlog.queued
    yield "lag_seconds", backlog.lag_s
    yield "last_commit_timestamp_seconds", backlog.committed_at
    yield "refusing", float(backlog.is_refusing)
    if backlog.site is not None:
        yield from _site_samples(backlog.site)


def _site_samples(site: SiteBacklog) -> Iterator[tuple[str, float | None]]:
    yield "unshipped_records", site.unshipped
    yield "set_aside_records", site.set_aside
    yield "site_contact_timestamp_seconds", site.contact_at
