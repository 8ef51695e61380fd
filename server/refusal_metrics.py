"""How often owners were refused for their limits or budgets; knows no key and no money.

Owners are written by operators, not by clients, yet a site may have thousands, and Prometheus keeps
a series for each label's value. So a label has only who was refused, the first MOST_OWNERS of them
since the start; all others count together. The ledger knows them all, exactly.
"""

from typing import Final

from prometheus_client import CollectorRegistry, Counter

CODES: Final = frozenset({"BUDGET_EXCEEDED", "RATE_LIMIT_EXCEEDED", "CONCURRENCY_LIMIT_EXCEEDED"})
"""The errors of 402 and 429."""
MOST_OWNERS: Final = 100
OTHERS: Final = "(others)"


class RefusalMetrics:
    """Counts answers by their error. Belongs to one event loop."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._counter = Counter(
            "fjord_refused_requests_total",
            "Requests refused for a budget (402) or a limit (429) of their key, by its owner "
            f"(the first {MOST_OWNERS}; then {OTHERS}).",
            ("owner", "code"),
            registry=registry,
        )
        self._owners: set[str] = set()

    def answered(self, owner: str, code: str) -> None:
        """A request of `owner` ended with the error `code`; "": with none."""
        if code in CODES:
            self._counter.labels(self._label(owner), code).inc()

    def _label(self, owner: str) -> str:
        if owner not in self._owners:
            if len(self._owners) >= MOST_OWNERS:
                return OTHERS
            self._owners.add(owner)
        return owner
