"""How far a ledger is behind: what waits for the disk, and what waits for the site's database."""

import time
from dataclasses import dataclass
from math import isfinite

from server.ledger.ledger import Ledger
from server.ledger.replication import SiteReplication


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteBacklog:
    """What a node's site does not have yet."""

    unshipped: int
    """Records, at most: numbers that were never used count too."""
    set_aside: int
    """Records that its database refused."""
    contact_at: float | None
    """When it was last reached, in Unix seconds; None: never."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """What a ledger has still to write."""

    queued: int
    """Entries and records that are not on disk."""
    lag_s: float
    """How long the oldest finished record has waited for the disk; 0 while none does."""
    committed_at: float | None
    """When something was last written, in Unix seconds; None: nothing was since the start."""
    is_refusing: bool
    """New work is refused, since it could not be recorded."""
    site: SiteBacklog | None
    """None: the node is on its own."""


def backlog_of(ledger: Ledger) -> Backlog:
    """From memory, at once; on any thread."""
    writer = ledger.writer
    kept = writer.kept
    oldest = next(iter(kept), None)
    return Backlog(
        queued=writer.queue.qsize() + len(kept),
        lag_s=max(0.0, time.monotonic() - oldest.queued_at) if oldest else 0.0,
        committed_at=writer.committed_at,
        is_refusing=ledger.health() is not None,
        site=_site_backlog(ledger.site) if ledger.site else None,
    )


def _site_backlog(site: SiteReplication) -> SiteBacklog:
    away_s = time.monotonic() - site.seen_at
    return SiteBacklog(
        unshipped=site.unshipped,
        set_aside=site.set_aside,
        contact_at=time.time() - away_s if isfinite(away_s) else None,
    )
