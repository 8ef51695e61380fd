"""What one key, or one level above it, has used of its limits; and how its refusals read. On a site
of several nodes a server admits within its shares of them (site_shares.py).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

from server.accounts.counted_level import CountedLevel
from server.accounts.limit_exceeded import (
    ConcurrencyLimited,
    Headers,
    LimitExceeded,
    RateLimited,
)
from server.accounts.rate_windows import MINUTE_S
from server.accounts.site_shares import SHARE_S
from server.ledger.records import Caller


@dataclass(slots=True, eq=False)
class Admission:
    """One admitted request, holding slots of its key, and of what is above it, until it is
    released."""

    caller: Caller
    accounts: "tuple[RateAccount, ...]"
    """That it counts in, the key's first."""
    headers: Headers
    slots: int = 1
    """One a sequence."""


class RateAccount(CountedLevel):
    """With the requests that hold of it, what they are shown and how they are refused."""

    __slots__ = ("above",)

    above: "tuple[RateAccount, ...]"
    """Of a key: the accounts of the limited levels above it, the nearest first."""

    def headers(self, now: float) -> Headers:
        """X-RateLimit-*. Remaining counts the plain rate; the burst is extra. Reset is when the
        oldest counted request leaves the window, in Unix seconds."""
        remaining = (self.rate or 0) - self.requests.count(now)
        ends = self.requests.oldest_ends(now)
        if self.shares.told:
            remaining, ends = self.left(now), self.first_ends(now)
        reset = self.wall_clock() + ends - now
        return [
            self.limit_header,
            (b"x-ratelimit-remaining", b"%d" % (remaining if remaining > 0 else 0)),
            (b"x-ratelimit-reset", b"%d" % ceil(reset)),
        ]

    def refusals(
        self, now: float, slots: int, slot_s: float, headers: Headers
    ) -> Iterator[LimitExceeded]:
        """One for each limit that is reached."""
        if slots and not self.has_room(slots):
            yield self.concurrency_limited(1, now, slot_s, headers)
        if self.tokens_here is not None and self.spent.count(now) >= self.tokens_here:
            yield self.token_limited(now, headers)
        if self.requests_here is not None and self.requests.count(now) >= self.requests_here:
            yield self.rate_limited(now, headers)

    def take(self, admission: Admission, now: float) -> None:
        if self.rate is not None:
            self.requests.add(now)
        if self.shares.in_use is not None:
            self.asked(now)
        self.slots[admission] = now
        self.held += admission.slots

    @property
    def holds_of_a_key(self) -> bool:
        return self.kind == "key" and bool(self.slots)

    def take_late(self, admission: Admission, since: float) -> None:
        """It was admitted before this level had limits: its slots and its tokens count.
        Whoever calls it puts `slots` into their order again."""
        self.slots[admission] = since
        self.held += admission.slots
        admission.accounts = (*admission.accounts, self)
        if self.shares.in_use is not None:
            self.asked(since)

    def free(self, admission: Admission) -> bool:
        """False: it was free already."""
        if self.slots.pop(admission, None) is None:
            return False
        self.held -= admission.slots
        return True

    def room_since(self, slots: int, now: float) -> float:
        """When that request began with whose end there is room for `slots` more."""
        missing, since = self.held + slots - (self.slots_here or 0), now
        for admission, began in self.slots.items():
            since, missing = began, missing - admission.slots
            if missing <= 0:
                break
        return since

    def concurrency_limited(
        self, slots: int, now: float, slot_s: float, headers: Headers
    ) -> ConcurrencyLimited:
        held = self.held + self.elsewhere("slots")
        self.refused(now)
        if self.is_shared("slots", self.slots_here, held + slots - 1):
            return ConcurrencyLimited(self.share_used, SHARE_S, headers, self.kind)
        figures = f"{held} of {self.concurrent}" if self.is_shown else "almost all its"
        return ConcurrencyLimited(
            f"{self.title} has {figures} sequences in flight, and {slots} more would be too many; "
            "send the next request when one of them has ended.",
            self.room_since(slots, now) + slot_s - now,
            headers,
            self.kind,
        )

    def lacks_form(self) -> bool:
        return self.concurrent is not None and len(self.forms) >= max(1, self.concurrent)

    def form_limited(self, wait_s: float) -> ConcurrencyLimited:
        figures = f"{len(self.forms)} forms" if self.is_shown else "almost all its forms"
        return ConcurrencyLimited(
            f"{self.title} sends {figures} of requests that are being answered already, and one "
            "more would be too many; send it when one of them has arrived.",
            wait_s,
            [],
            self.kind,
        )

    def rate_limited(self, now: float, headers: Headers) -> RateLimited:
        most, told = self.requests_here, f"{self.rate} requests a minute and {self.burst} more"
        self.refused(now)
        if self.is_shared("requests", most, self.requests.count(now) + self.elsewhere("requests")):
            return RateLimited(self.share_used, SHARE_S, headers, self.kind)
        return RateLimited(
            f"{self.title} may send "
            f"{f'{told} in a burst' if self.is_shown else 'so many a minute'}; it did.",
            self.requests_wait(now),
            headers,
            self.kind,
        )

    def token_limited(self, now: float, headers: Headers) -> RateLimited:
        told = f"{self.tokens} tokens" if self.is_shown else "so many tokens"
        used = self.spent.count(now)
        self.refused(now)
        if self.is_shared("tokens", self.tokens_here, used + self.elsewhere("tokens")):
            return RateLimited(self.share_used, SHARE_S, headers, self.kind)
        return RateLimited(
            f"{self.title} may use {told} a minute; it did.",
            self.spent.ends - now if used else MINUTE_S,
            headers,
            self.kind,
        )

    @property
    def share_used(self) -> str:
        return (
            f"{self.title} has used what this server may take at once; the site gives it more "
            f"within {SHARE_S:.0f} seconds."
        )


def tightest(accounts: "tuple[RateAccount, ...]", now: float) -> RateAccount:
    """Whose figures the headers tell: of those with a rate that may be told, the one with the
    fewest requests left, and the nearest of such. The first is a key's and has one."""
    shown = [each for each in accounts if each.rate is not None and each.is_shown]
    if shown[0].shares.told:
        return min(shown, key=lambda each: each.left(now))
    return min(shown, key=lambda each: (each.rate or 0) - each.requests.count(now))
