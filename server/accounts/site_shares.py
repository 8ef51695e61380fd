"""What this server may use of limits that hold for its whole site; docs/cluster.md has the rule.

Of each limit every node has a share, and all shares together are the limit at most: an admission
looks at the share alone. Belongs to the event loop, as the Limiter does.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from server.ledger.site_limits import (
    FREED_S,
    GONE_S,
    LimitKind,
    NodeCount,
    SiteAnswer,
    standing,
)

BUSY_S = 4.0
"""A limit that was asked for so lately gets the larger part of what is free; ..."""
SHARE_S = 2.0
"""... within this time, where the site has room."""
FEW = 8
"""What is no more than an eighth of a share is not told: most keys use little of their limits."""


class Counting(Protocol):
    """What is asked of a level's account."""

    def counts(self, now: float) -> Iterable[NodeCount]:
        """What the site should know of."""

    def take_shares(self) -> None:
        """They are others now."""


@dataclass(frozen=True, slots=True)
class Share:
    """Of one limit of one level."""

    most: int
    cap: int
    elsewhere: int
    """What the other nodes have used of it."""
    ends_at: float | None
    """When the oldest of that is over."""


class SiteShares:
    """`accounts`: all, by level. Until `join` this server has all of every limit."""

    def __init__(self, accounts: Mapping[str, Counting], clock: Callable[[], float]) -> None:
        self.accounts = accounts
        self.clock = clock
        self.nodes = 1
        self.is_alone = True
        self.told: dict[tuple[str, LimitKind], Share] = {}
        self.in_use: set[Any] | None = None
        """Accounts that may have something to tell; None: there is nobody to tell it."""
        self.heard_at: float | None = None
        """When what was last answered had been asked."""

    def join(self, nodes: int) -> None:
        """From now on limits hold for a site, of so many nodes as far as is known."""
        self.in_use = set()
        self.divide(nodes)

    def divide(self, nodes: int) -> None:
        """Among so many, what no share is told of."""
        self.nodes = nodes
        self.renew(self.accounts)

    def share(self, level_id: str, kind: LimitKind) -> Share | None:
        return self.told.get((level_id, kind))

    def cap(self, level_id: str, kind: LimitKind, limit: int | None) -> int | None:
        """What this server may have of a limit; None: there is none."""
        if limit is None:
            return None
        share = self.told.get((level_id, kind))
        if share is None:
            return standing(limit, self.nodes)
        return share.cap if limit >= share.most else share.cap * limit // share.most

    def counts(self) -> list[NodeCount]:
        """What is told to the site; to an empty one nothing."""
        now = self.clock()
        accounts = tuple(self.in_use or ())
        found = [count for account in accounts for count in self.counts_of(account, now)]
        if self.is_alone:
            return []
        told = {(count.level_id, count.kind) for count in found}
        return found + [unused(*key, share) for key, share in self.told.items() if key not in told]

    def counts_of(self, account: Counting, now: float) -> list[NodeCount]:
        found = list(account.counts(now))
        if not found and self.in_use is not None:
            self.in_use.discard(account)
        return found

    def learn(self, answer: SiteAnswer, asked_at: float) -> None:
        """`asked_at`: when the counts were taken, by the clock."""
        now, before = self.clock(), self.told
        self.heard_at = asked_at
        self.is_alone = answer.is_alone
        self.told = {
            (level_id, kind): Share(
                most, max(0, cap), elsewhere, None if ends_s is None else now + ends_s
            )
            for level_id, kind, most, cap, elsewhere, ends_s in answer.shares
        }
        nodes = answer.nodes if answer.is_settled else self.nodes
        if nodes != self.nodes:
            self.divide(nodes)
        else:
            self.renew({level_id for level_id, _ in (*before, *self.told)})

    def lapse(self) -> float | None:
        """The site is silent: go on with no more than an equal part; with that part once nothing
        counts any more that was known. Returns when to look again, in seconds."""
        if self.heard_at is None:
            return None
        silent_s = self.clock() - self.heard_at
        if silent_s < GONE_S:
            return GONE_S - silent_s
        levels = {level_id for level_id, _ in self.told}
        if silent_s < FREED_S:
            self.told = {key: self.lapsed(share) for key, share in self.told.items()}
        else:
            self.told = {}
        self.renew(levels)
        return FREED_S - silent_s if silent_s < FREED_S else None

    def lapsed(self, share: Share) -> Share:
        cap = min(share.cap, standing(share.most, self.nodes))
        return Share(share.most, cap, share.elsewhere, share.ends_at)

    def renew(self, levels: Iterable[str]) -> None:
        for level_id in levels:
            if (account := self.accounts.get(level_id)) is not None:
                account.take_shares()


def unused(level_id: str, kind: LimitKind, share: Share) -> NodeCount:
    return NodeCount(
        level_id=level_id,
        kind=kind,
        most=share.most,
        used=0,
        cap=share.cap,
        busy=False,
        ends_s=None,
    )
