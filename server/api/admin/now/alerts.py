"""What somebody should know of, by what this process knows: as the rules for Prometheus have it,
but of this moment, without their patience."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from engines.fleet.status import EngineStatus
from server.api.admin.now.alert_texts import RULES
from server.api.admin.now.wire import Alert
from server.http.recent_requests import RecentRequest
from server.ledger.backlog import Backlog, SiteBacklog

LOOK_BACK_S: Final = 600.0
_FAILED_OVER_S: Final = 300.0
_LEAST_ANSWERS: Final = 20
"""One failure among three is no rate."""
_MOST_OWNERS: Final = 20
_DAY_S: Final = 86_400
_LEAST_FREE_BYTES: Final = 2 * 2**30
_NAMES: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """`at` is in Unix seconds."""

    at: float
    engines: Sequence[EngineStatus] = ()
    backlog: Backlog | None = None
    disk: Mapping[str, int] = field(default_factory=dict)
    """free_bytes and size_bytes, where they are known."""
    sequences: Mapping[str, int] = field(default_factory=dict)
    queue_limit: int = 0
    longest_waits_s: Mapping[str, float] = field(default_factory=dict)
    ended: Sequence[RecentRequest] = ()
    """Within LOOK_BACK_S, the last one first."""
    certificate_ends_at: float | None = None


def alerts_of(facts: Facts) -> list[Alert]:
    """The critical ones first."""
    found = [
        *_of_engines(facts.engines),
        *_of_ledger(facts),
        *_of_disk(facts.disk),
        *_of_queues(facts),
        *_of_answers(facts),
        *_of_certificate(facts),
    ]
    return sorted(found, key=lambda alert: alert.severity != "critical")


def _alert(name: str, summary: str, aliases: Sequence[str] = (), owner: str | None = None) -> Alert:
    rule = RULES[name]
    return Alert(
        alert=name,
        severity=rule.severity,
        aliases=list(aliases),
        owner=owner,
        summary=summary,
        action=rule.action,
    )


def _of_engines(engines: Iterable[EngineStatus]) -> Iterator[Alert]:
    for engine in engines:
        names, aliases = _listed(engine.aliases), engine.aliases
        if engine.state == "failed":
            yield _alert("EngineFailed", f"{names} could not be loaded.", aliases)
        elif engine.reason is not None:
            said = f"The engine of {names} died or hung, and is replaced."
            yield _alert("EngineReplaced", said, aliases)


def _of_ledger(facts: Facts) -> Iterator[Alert]:
    backlog = facts.backlog
    if backlog is None:
        return
    if backlog.is_refusing:
        yield _alert("LedgerRefusing", "All work is refused: usage cannot be recorded.")
    if backlog.lag_s > 2 or backlog.queued > 5000:
        yield _alert("LedgerBehind", "The ledger writes slower than requests end.")
    if backlog.site is not None:
        yield from _of_site(backlog.site, facts.at)


def _of_site(site: SiteBacklog, at: float) -> Iterator[Alert]:
    if site.contact_at is None or at - site.contact_at > 300:
        yield _alert("SiteAway", "The site's database is not reached.")
    if site.unshipped > 10_000:
        yield _alert("ShippingBehind", f"The site lacks {site.unshipped} records of this server.")
    if site.set_aside:
        yield _alert("RecordsSetAside", f"The site's database refused {site.set_aside} records.")


def _of_disk(disk: Mapping[str, int]) -> Iterator[Alert]:
    free, size = disk.get("free_bytes"), disk.get("size_bytes", 0)
    if free is not None and (free < _LEAST_FREE_BYTES or free < 0.05 * size):
        said = f"{free / 1e9:.1f} GB of {size / 1e9:.0f} are free on the data directory's disk."
        yield _alert("DiskAlmostFull", said)


def _of_queues(facts: Facts) -> Iterator[Alert]:
    for alias, count in facts.sequences.items():
        if facts.queue_limit and count >= 0.9 * facts.queue_limit:
            said = f"The queue of {alias} is full: {count} of {facts.queue_limit} run or wait."
            yield _alert("QueueFull", said, [alias])
    for alias, wait_s in facts.longest_waits_s.items():
        if wait_s > 60:
            said = f"A request to {alias} has waited for {wait_s:.0f} s."
            yield _alert("WaitsTooLong", said, [alias])


def _of_answers(facts: Facts) -> Iterator[Alert]:
    owners = dict.fromkeys(r.owner for r in facts.ended if r.code == "BUDGET_EXCEEDED")
    for owner in list(owners)[:_MOST_OWNERS]:
        said = f"{owner or 'An owner'} is refused: a budget is spent."
        yield _alert("BudgetSpent", said, owner=owner)
    last = [r for r in facts.ended if facts.at - r.ended_at <= _FAILED_OVER_S]
    failed = sum(r.status >= 500 for r in last)
    if len(last) >= _LEAST_ANSWERS and failed > 0.05 * len(last):
        yield _alert("Errors", f"{failed} of the last {len(last)} requests failed with a 5xx.")


def _of_certificate(facts: Facts) -> Iterator[Alert]:
    if facts.certificate_ends_at is None:
        return
    left_s = facts.certificate_ends_at - facts.at
    if left_s < 2 * _DAY_S:
        yield _alert("CertificateEnded", "The certificate has ended, or does within two days.")
    elif left_s < 14 * _DAY_S:
        yield _alert("CertificateEnding", f"The certificate ends in {left_s // _DAY_S:.0f} days.")


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _NAMES
    return ", ".join(names[:_NAMES]) + (f" and {more} more" if more > 0 else "")
