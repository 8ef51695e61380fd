"""What this server does for others of its site, for /metrics."""

from functools import cache

from prometheus_client import CollectorRegistry, Counter


class PeerMetrics:
    """By alias; the asker counts, records and bills the same requests as its own."""

    def __init__(self, registry: CollectorRegistry) -> None:
        requests = Counter(
            "fjord_peer_requests_total",
            "Generations, embeddings and scores that other servers of the site asked for.",
            ("alias",),
            registry=registry,
        )
        tokens = Counter(
            "fjord_peer_tokens_total",
            "Tokens that were generated for other servers of the site.",
            ("alias",),
            registry=registry,
        )
        self._requests, self._tokens = cache(requests.labels), cache(tokens.labels)

    def count(self, alias: str, tokens: int = 0) -> None:
        """One that has ended."""
        self._requests(alias).inc()
        self._tokens(alias).inc(tokens)
