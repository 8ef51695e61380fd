"""What one key, or one level above it, has used of its limits; and how its refusals read.

LimitExceeded               .retry_after_s, .headers (Retry-After among them)
├── RateLimited             requests or tokens a minute
└── ConcurrencyLimited      too many sequences at once
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import ceil
from typing import TypeAlias

from server.accounts.rate_windows import MINUTE_S, Requests, Tokens
from server.ledger.records import Caller, KeyLimits, LevelKind

Headers: TypeAlias = list[tuple[bytes, bytes]]
Clock: TypeAlias = Callable[[], float]


class LimitExceeded(Exception):
    """Waiting `retry_after_s` whole seconds succeeds, unless other requests under the same limits
    take the room."""

    def __init__(self, message: str, wait_s: float, headers: Headers, level: LevelKind) -> None:
        super().__init__(message)
        self.level = level
        """Whose limit it is."""
        self.retry_after_s = max(1, ceil(wait_s))
        self.headers = [*headers, (b"retry-after", b"%d" % self.retry_after_s)]


class RateLimited(LimitExceeded):
    """Too many requests, or too many tokens, within a minute."""


class ConcurrencyLimited(LimitExceeded):
    """Too many sequences at once. The wait is until so many of the oldest requests have reached
    their time limit as hold the slots that are missing: the only moment by which they are free for
    certain."""


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


class RateAccount:
    """One key or level: its limits, the defaults filled in, and what it has used of them. A change
    of the limits forgets nothing of what was used."""

    __slots__ = (
        "above",
        "burst",
        "concurrent",
        "defaults",
        "forms",
        "held",
        "is_shown",
        "kind",
        "limit_header",
        "limits",
        "most",
        "rate",
        "requests",
        "slots",
        "spent",
        "title",
        "tokens",
        "wall_clock",
    )

    def __init__(self, kind: LevelKind, title: str, defaults: KeyLimits, wall_clock: Clock) -> None:
        self.kind, self.title = kind, title
        self.is_shown = kind != "site"
        """Whether those below it are told its figures: the site's would tell an owner what others
        do."""
        self.defaults = defaults
        self.wall_clock = wall_clock
        self.requests = Requests()
        self.spent = Tokens()
        self.slots: dict[Admission, float] = {}
        """The requests that hold slots, oldest first, and since when."""
        self.held = 0
        """Slots, of all of them."""
        self.forms: dict[Admission, float] = {}
        """The requests without a slot whose form's file is held, oldest first, and since when."""
        self.above: tuple[RateAccount, ...] = ()
        """Of a key: the accounts of the limited levels above it, the nearest first."""
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

    def headers(self, now: float) -> Headers:
        """X-RateLimit-*. Remaining counts the plain rate; the burst is extra. Reset is when the
        oldest counted request leaves the window, in Unix seconds."""
        remaining = (self.rate or 0) - self.requests.count(now)
        reset = self.wall_clock() + self.requests.oldest_ends(now) - now
        return [
            self.limit_header,
            (b"x-ratelimit-remaining", b"%d" % (remaining if remaining > 0 else 0)),
            (b"x-ratelimit-reset", b"%d" % ceil(reset)),
        ]

    def has_room(self, slots: int) -> bool:
        """An idle key has room for one, also where its limit is 0."""
        return self.concurrent is None or not self.held or self.held + slots <= self.concurrent

    def is_full(self, now: float, slots: int) -> bool:
        """Whether there are `refusals`."""
        if slots and self.held and not self.has_room(slots):
            return True
        if self.tokens is not None and self.spent.count(now) >= self.tokens:
            return True
        return self.most is not None and self.requests.count(now) >= self.most

    def refusals(
        self, now: float, slots: int, slot_s: float, headers: Headers
    ) -> Iterator[LimitExceeded]:
        """One for each limit that is reached."""
        if slots and not self.has_room(slots):
            yield self.concurrency_limited(1, self.room_since(1) + slot_s - now, headers)
        if self.tokens is not None and self.spent.count(now) >= self.tokens:
            yield self.token_limited(now, headers)
        if self.most is not None and self.requests.count(now) >= self.most:
            yield self.rate_limited(now, headers)

    def take(self, admission: Admission, now: float) -> None:
        if self.rate is not None:
            self.requests.add(now)
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

    def free(self, admission: Admission) -> bool:
        """False: it was free already."""
        if self.slots.pop(admission, None) is None:
            return False
        self.held -= admission.slots
        return True

    def lacks(self, slots: int) -> bool:
        return self.concurrent is not None and self.held + slots > self.concurrent

    def room_since(self, slots: int) -> float:
        """When that request began with whose end there is room for `slots` more."""
        missing, since = self.held + slots - (self.concurrent or 0), 0.0
        for admission, began in self.slots.items():
            since, missing = began, missing - admission.slots
            if missing <= 0:
                break
        return since

    def concurrency_limited(
        self, slots: int, wait_s: float, headers: Headers
    ) -> ConcurrencyLimited:
        figures = f"{self.held} of {self.concurrent}" if self.is_shown else "almost all its"
        return ConcurrencyLimited(
            f"{self.title} has {figures} sequences in flight, and {slots} more would be too many; "
            "send the next request when one of them has ended.",
            wait_s,
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
        most = self.most
        told = f"{self.rate} requests a minute and {self.burst} more in a burst"
        return RateLimited(
            f"{self.title} may send {told if self.is_shown else 'so many a minute'}; it did.",
            self.requests.room_at(most) - now if most else MINUTE_S,
            headers,
            self.kind,
        )

    def token_limited(self, now: float, headers: Headers) -> RateLimited:
        told = f"{self.tokens} tokens" if self.is_shown else "so many tokens"
        return RateLimited(
            f"{self.title} may use {told} a minute; it did.",
            self.spent.ends - now,
            headers,
            self.kind,
        )


def first(own: int | None, default: int | None) -> int | None:
    return default if own is None else own


def tightest(accounts: "tuple[RateAccount, ...]", now: float) -> RateAccount:
    """Whose figures the headers tell: of those with a rate that may be told, the one with the
    fewest requests left, and the nearest of such. The first is a key's and has one."""
    shown = [each for each in accounts if each.rate is not None and each.is_shown]
    return min(shown, key=lambda each: (each.rate or 0) - each.requests.count(now))
