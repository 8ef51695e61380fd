"""What /metrics tells: counted once a request, never once a token; a registry of its own."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from engines.fleet.status import EngineStatus
from server.engine_metrics import engine_families
from server.ledger.money import MICRO
from server.ledger.records import UsageRecord
from server.refusal_metrics import RefusalMetrics
from server.scheduler_metrics import scheduler_families

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
UNKNOWN = "unknown"
"""The alias of requests that name none of ours: clients choose names, so they can be endless."""

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
_TOKEN_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0)


class Metrics:
    """All of the server's metrics. `aliases` bounds their cardinality."""

    def __init__(
        self,
        aliases: Iterable[str],
        statuses: Callable[[], Iterable[EngineStatus]],
        in_flight: Callable[[], Mapping[str, int]],
    ) -> None:
        self.registry = CollectorRegistry()
        requests = Counter(
            "fjord_requests_total",
            "Requests answered, by HTTP status (0: the client left before an answer).",
            ("alias", "endpoint", "status"),
            registry=self.registry,
        )
        self._requests = cache(requests.labels)
        self._unknown_fields = Counter(
            "fjord_unknown_fields_total",
            "Request fields that nobody knows: accepted, without effect.",
            ("kind",),
            registry=self.registry,
        )
        self._broken_forms = Counter(
            "fjord_broken_forms_total",
            "Answers that ended without the form they were held to, by the form's kind.",
            ("alias", "form"),
            registry=self.registry,
        )
        self._unrecorded = Counter(
            "fjord_unrecorded_rejections_total",
            "429s beyond those of a key's minute that get a usage record.",
            registry=self.registry,
        )
        self._keyed = Counter(
            "fjord_keyed_requests_total",
            "Requests with an Idempotency-Key: first, replayed, refused or still_running.",
            ("outcome",),
            registry=self.registry,
        )
        billed = Counter(
            "fjord_billed_total",
            "What requests cost, in the label's currency; the ledger has it exactly.",
            ("alias", "currency"),
            registry=self.registry,
        )
        self._billed = cache(billed.labels)
        self.refusals = RefusalMetrics(self.registry)
        self._instruments = _Instruments(self.registry)
        self._by_alias: dict[str, _AliasMetrics] = {}
        self.know((*aliases, UNKNOWN))
        self.registry.register(engine_families(statuses))
        self.registry.register(scheduler_families(statuses))
        self.registry.register(_InFlightCollector(self._by_alias, in_flight))
        ProcessCollector(registry=self.registry)
        self.certificate_ends_at: Callable[[], float] | None = None
        """In Unix seconds; None: the server speaks no TLS."""

    def know(self, aliases: Iterable[str]) -> None:
        """Count these, too; what was known stays."""
        for alias in aliases:
            if alias not in self._by_alias:
                self._by_alias[alias] = _AliasMetrics(self._instruments, alias)

    def finished(self, record: UsageRecord, status: int, wait_s: float = 0.0) -> None:
        """The end of a request that ran. `wait_s`: for limits, a load, the engine's lease."""
        self._of(record.alias).observe(record, wait_s)
        if record.amount > 0:
            self._billed(record.alias, record.currency).inc(record.amount / MICRO)
        self.answered(record.alias, record.endpoint, status)

    def answered(self, alias: str, endpoint: str, status: int) -> None:
        """A request that never ran: refused early, or one that generates nothing."""
        name = alias if alias in self._by_alias else UNKNOWN
        self._requests(name, endpoint, status).inc()

    def unknown_field(self, name: str) -> None:
        self._unknown_fields.labels(field_kind(name)).inc()

    def form_broken(self, alias: str, form: str) -> None:
        """An answer that was not given out as finished."""
        self._broken_forms.labels(alias, form).inc()

    def unrecorded(self) -> None:
        """A 429 that leaves no usage record."""
        self._unrecorded.inc()

    def keyed(self, outcome: str) -> None:
        """What became of a request with an Idempotency-Key."""
        self._keyed.labels(outcome).inc()

    def certificate(self, ends_at: Callable[[], float]) -> None:
        """Tell when the certificate of the server's TLS ends, in unix seconds."""
        gauge = Gauge(
            "fjord_tls_certificate_expiry_timestamp_seconds",
            "When the certificate that new connections get ends, in unix seconds.",
            registry=self.registry,
        )
        gauge.set_function(ends_at)
        self.certificate_ends_at = ends_at

    def render(self) -> bytes:
        """The exposition text. Takes milliseconds."""
        return generate_latest(self.registry)

    def _of(self, alias: str) -> "_AliasMetrics":
        return self._by_alias.get(alias) or self._by_alias[UNKNOWN]


_LONGEST_NAME = 256
"""A name of 8 MiB would keep the event loop for 20 ms."""


def field_kind(name: str) -> str:
    """The class of an unknown field's name: clients choose names, labels must stay few."""
    if len(name) > _LONGEST_NAME or not name.isidentifier():
        return "odd"
    return "private" if name.startswith(("x_", "_")) else "plain"


class _Instruments:
    """The metrics with an alias label alone."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str) -> Counter:
            return Counter(f"fjord_{name}_total", text, ("alias",), registry=registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...] = _SECONDS) -> Histogram:
            return Histogram(
                f"fjord_{name}_seconds", text, ("alias",), buckets=buckets, registry=registry
            )

        self.prompt_tokens = counter("prompt_tokens", "Prompt tokens read.")
        self.cached_tokens = counter("cached_prompt_tokens", "Prompt tokens found in the cache.")
        self.completion_tokens = counter("completion_tokens", "Tokens generated.")
        self.reasoning_tokens = counter("reasoning_tokens", "Generated tokens that were thinking.")
        self.duration = histogram("request_duration", "From a request's arrival to its end.")
        self.wait = histogram("queue_wait", "Wait for a ready engine before a request ran.")
        self.ttft = histogram("time_to_first_token", "From a request's arrival to its first token.")
        self.per_token = histogram(
            "time_per_output_token", "Mean gap between tokens after the first.", _TOKEN_SECONDS
        )


class _AliasMetrics:
    """One alias' children of the instruments, looked up once (a lookup costs 1 µs each)."""

    def __init__(self, all_aliases: _Instruments, alias: str) -> None:
        self.prompt_tokens = all_aliases.prompt_tokens.labels(alias)
        self.cached_tokens = all_aliases.cached_tokens.labels(alias)
        self.completion_tokens = all_aliases.completion_tokens.labels(alias)
        self.reasoning_tokens = all_aliases.reasoning_tokens.labels(alias)
        self.duration = all_aliases.duration.labels(alias)
        self.wait = all_aliases.wait.labels(alias)
        self.ttft = all_aliases.ttft.labels(alias)
        self.per_token = all_aliases.per_token.labels(alias)

    def observe(self, record: UsageRecord, wait_s: float) -> None:
        self.prompt_tokens.inc(record.prompt_tokens)
        self.cached_tokens.inc(record.cached_tokens)
        self.completion_tokens.inc(record.completion_tokens)
        self.reasoning_tokens.inc(record.reasoning_tokens)
        self.duration.observe(record.duration_s)
        self.wait.observe(wait_s)
        if record.ttft_s is None:
            return
        self.ttft.observe(record.ttft_s)
        if record.completion_tokens > 1:
            after_first_s = max(0.0, record.duration_s - record.ttft_s)
            self.per_token.observe(after_first_s / (record.completion_tokens - 1))


class _InFlightCollector(Collector):
    """What the supervisor knows to be in flight, asked at each scrape."""

    def __init__(self, aliases: Iterable[str], in_flight: Callable[[], Mapping[str, int]]) -> None:
        self._aliases = aliases
        self._in_flight = in_flight

    def describe(self) -> Iterable[Metric]:
        return [self._family()]

    def collect(self) -> Iterator[Metric]:
        family, in_flight = self._family(), self._in_flight()
        for alias in self._aliases:
            family.add_metric([alias], in_flight.get(alias, 0))
        yield family

    def _family(self) -> GaugeMetricFamily:
        text = "Requests being served."
        return GaugeMetricFamily("fjord_requests_in_flight", text, labels=["alias"])
