"""What to do about each alert: the words of its rule in deploy/prometheus/alerts.yaml."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from server.api.admin.now.wire import Severity


class AlertRule(NamedTuple):
    severity: Severity
    action: str


RULES: Final[Mapping[str, AlertRule]] = {
    "EngineFailed": AlertRule(
        "critical",
        "The server's log says why. `fjord doctor` looks at cards, driver and disk, `fjord check` "
        "at the model; `fjord models load NAME` tries again.",
    ),
    "EngineReplaced": AlertRule(
        "warning",
        "Look for its last words in the server's log. Once in a while is a request that killed it "
        "(the log names the fields it had); more often is memory or a card.",
    ),
    "Errors": AlertRule(
        "critical",
        "/ready says which part does not serve. The log has a line a request, with its status and "
        "code; 503 is load or an engine that is away, 500 is a bug: please report it.",
    ),
    "LedgerRefusing": AlertRule(
        "critical",
        "The log says why: a full disk, a ledger that somebody else holds, or a site's database "
        "that was away for longer than FJORD_LEDGER_STALE_S. Nothing is lost; it mends itself once "
        "there is room.",
    ),
    "LedgerBehind": AlertRule(
        "warning",
        "Answers wait for it. See what else uses the data directory's disk (`iostat -x`); a ledger "
        "wants a local disk, not a network's.",
    ),
    "SiteAway": AlertRule(
        "warning",
        "It serves on with the keys and budgets it knows, for FJORD_LEDGER_STALE_S (a day), and "
        "ships later. See whether PostgreSQL runs and FJORD_LEDGER_URL is right; budgets may be "
        "overspent by what each node had left.",
    ),
    "ShippingBehind": AlertRule(
        "warning",
        "The site's database is slow or was away: look at its load and disk. Bill nothing for "
        "these days before they have come.",
    ),
    "RecordsSetAside": AlertRule(
        "warning",
        "They are on no invoice yet. The log says why each was refused; mend that, then `fjord "
        "ship --retry` on the node.",
    ),
    "DiskAlmostFull": AlertRule(
        "critical",
        "A full disk stops all work, since usage cannot be recorded: make room now (`fjord weights "
        "list`, `fjord weights remove`).",
    ),
    "BudgetSpent": AlertRule(
        "warning",
        "`fjord usage`, `fjord keys` and `fjord owners` show whose. Tell the owner, or give the "
        "key or its owner more (`fjord keys update --budget`, `fjord owners update --budget`); a "
        "day's or month's budget begins anew by itself.",
    ),
    "QueueFull": AlertRule(
        "warning",
        "Requests are refused with 503 or soon will be. Give the model more replicas or another "
        "node; a larger FJORD_QUEUE_LIMIT only makes everybody wait longer.",
    ),
    "WaitsTooLong": AlertRule(
        "warning",
        "Its engine takes turns with others: `fjord plan` says what fits at once, and `fjord "
        "models pin NAME` keeps one loaded. The board Fjord: fleet shows loads and unloads. Where "
        "fjord_requests_waiting is not 0 the engine is full: give the model more replicas.",
    ),
    "CertificateEnding": AlertRule(
        "warning",
        "Renew it, and see that whoever should have renewed it by now runs.",
    ),
    "CertificateEnded": AlertRule(
        "critical",
        "Renew it now: clients refuse the server from that moment on.",
    ),
}
"""By the rule's name without `Fjord`."""
