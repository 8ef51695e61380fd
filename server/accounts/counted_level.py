"""What was used of a level's limits, and how much of them there is: of all on a server without a
site, of this server's shares on one that has a site (site_shares.py)."""

from collections.abc import Iterator
from math import inf
from typing import Any

from server.accounts.limit_exceeded import Clock
from server.accounts.rate_windows import MINUTE_S, Requests, Tokens
from server.accounts.site_shares import BUSY_S, FEW, SHARE_S, SiteShares
from server.ledger.records import KeyLimits, LevelKind
from server.ledger.site_limits import LimitKind, NodeCount, standing


class CountedLevel:
    """One key or level: its limits, the defaults filled in, and what it has used of them. A change
    of the limits forgets nothing of what was used."""

    __slots__ = (
        "asked_at",
        "burst",
        "concurrent",
        "defaults",
        "forms",
        "held",
        "is_shown",
        "kind",
        "level_id",
        "limit_header",
        "limits",
        "most",
        "rate",
        "refused_at",
        "requests",
        "requests_here",
        "shares",
        "slots",
        "slots_here",
        "spent",
        "title",
        "tokens",
        "tokens_here",
        "wall_clock",
    )

    def __init__(
        self,
        level_id: str,
        kind: LevelKind,
        title: str,
        defaults: KeyLimits,
        wall_clock: Clock,
        shares: SiteShares,
    ) -> None:
        self.level_id, self.kind, self.title = level_id, kind, title
        self.is_shown = kind != "site"
        """Whether those below it are told its figures: the site's would tell an owner what others
        do."""
        self.defaults = defaults
        self.wall_clock = wall_clock
        self.shares = shares
        self.asked_at = -inf
        """When it was last asked for, ..."""
        self.refused_at = -inf
        """... and refused."""
        self.requests = Requests()
        self.spent = Tokens()
        self.slots: dict[Any, float] = {}
        """The requests that hold slots, oldest first, and since when."""
        self.held = 0
        """Slots, of all of them."""
        self.forms: dict[Any, float] = {}
        """The requests without a slot whose form's file is held, oldest first, and since when."""
        self.limits: KeyLimits | None = None

    def set_limits(self, limits: KeyLimits) -> None:
        self.limits, defaults = limits, self.defaults
        self.rate = first(limits.requests_per_minute, defaults.requests_per_minute)
        """None, as of the others: no limit."""
        self.burst = first(limits.burst, defaults.burst) or 0
        self.most = None if self.rate is None else self.rate + self.burst
        self.limit_header = b"x-ratelimit-limit", b"%d" % (self.rate or 0)
        self.concurrent = first(limits.concurrent, defaults.concurrent)
        self.tokens = limits.tokens_per_minute
        """A minute."""
        self.take_shares()

    def take_shares(self) -> None:
        """What this server may have of each limit."""
        cap, level_id = self.shares.cap, self.level_id
        self.requests_here = cap(level_id, "requests", self.most)
        self.tokens_here = cap(level_id, "tokens", self.tokens)
        self.slots_here = cap(level_id, "slots", self.most_slots)

    @property
    def most_slots(self) -> int | None:
        """An idle key has room for one, also where its limit is 0."""
        return None if self.concurrent is None else max(1, self.concurrent)

    def counts(self, now: float) -> Iterator[NodeCount]:
        """What the site should know of."""
        if self.most is not None and self.requests_here is not None:
            used = self.requests.count(now)
            ends_s = self.requests.oldest_ends(now) - now if used else None
            yield from self.counted("requests", self.most, used, self.requests_here, now, ends_s)
        if self.tokens is not None and self.tokens_here is not None:
            used = self.spent.count(now)
            ends_s = self.spent.ends - now if used else None
            yield from self.counted("tokens", self.tokens, used, self.tokens_here, now, ends_s)
        if self.most_slots is not None and self.slots_here is not None:
            yield from self.counted("slots", self.most_slots, self.held, self.slots_here, now, None)

    def counted(
        self, kind: LimitKind, most: int, used: int, cap: int, now: float, ends_s: float | None
    ) -> Iterator[NodeCount]:
        was_refused = now - self.refused_at < BUSY_S
        if was_refused or used * FEW > cap or self.shares.share(self.level_id, kind) is not None:
            is_asked = now - self.asked_at < BUSY_S and used * 2 * FEW > standing(
                most, self.shares.nodes
            )
            yield NodeCount(
                level_id=self.level_id,
                kind=kind,
                most=most,
                used=used,
                cap=cap,
                busy=was_refused or is_asked,
                ends_s=ends_s,
            )

    def left(self, now: float) -> int:
        """Requests of the plain rate, after what all nodes have counted."""
        return (self.rate or 0) - self.requests.count(now) - self.elsewhere("requests")

    def first_ends(self, now: float) -> float:
        """When the oldest request leaves the window that `left` just counted, on any node."""
        ends = self.requests.oldest_ends(now)
        there = self.shares.share(self.level_id, "requests")
        return ends if there is None or there.ends_at is None else min(ends, there.ends_at)

    def elsewhere(self, kind: LimitKind) -> int:
        """What the site's other nodes have used, as was last told."""
        share = self.shares.share(self.level_id, kind)
        return 0 if share is None else share.elsewhere

    def has_room(self, slots: int) -> bool:
        return self.slots_here is None or self.held + slots <= self.slots_here

    def is_full(self, now: float, slots: int) -> bool:
        """Whether there are `refusals`."""
        if slots and self.slots_here is not None and self.held + slots > self.slots_here:
            return True
        if self.tokens_here is not None and self.spent.count(now) >= self.tokens_here:
            return True
        return self.requests_here is not None and self.requests.count(now) >= self.requests_here

    def asked(self, now: float) -> None:
        self.asked_at = now
        if (in_use := self.shares.in_use) is not None:
            in_use.add(self)

    def refused(self, now: float) -> None:
        self.refused_at = now
        self.asked(now)

    def spend(self, tokens: int, now: float) -> None:
        self.spent.add(tokens, now)
        if self.shares.in_use is not None:
            self.asked(now)

    def lacks(self, slots: int) -> bool:
        most = self.slots_here if self.concurrent else self.concurrent
        return most is not None and self.held + slots > most

    def is_shared(self, kind: LimitKind, here: int | None, used: int) -> bool:
        """Whether a limit of which this server has used its share has room: the site gives more."""
        limits = {"requests": self.most, "tokens": self.tokens, "slots": self.most_slots}
        limit = limits[kind]
        return limit is not None and here is not None and here < limit and used < limit

    def requests_wait(self, now: float) -> float:
        """Until there is room again."""
        if here := self.requests_here:
            return self.requests.room_at(here) - now
        return self.first_ends(now) - now + SHARE_S if self.shares.told else MINUTE_S


def first(own: int | None, default: int | None) -> int | None:
    return default if own is None else own
