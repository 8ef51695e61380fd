"""Rate, concurrency and tokens a minute per key; in memory, some µs, nothing awaited.

    limiter = Limiter(requests_per_minute=1000, burst=100, concurrent=50, slot_s=600.0)
    admission = limiter.admit(caller)               # raises RateLimited, ConcurrencyLimited
    limiter.widen(admission, sequences)      # once the body says how many; raises as admit does
    ... admission.headers on the answer, also on its errors; slots are held to the last byte ...
    limiter.release(admission, tokens=usage.total_tokens)     # idempotent
    headers = limiter.headers(caller)          # for an authenticated answer that does not count

Any 60 seconds hold at most requests_per_minute + burst requests of a key. A slot is one sequence
that is generated, or a request that generates none. All headers are raw ASGI pairs.

LimitExceeded               .retry_after_s, .headers (Retry-After among them)
├── RateLimited             requests or tokens a minute
└── ConcurrencyLimited      too many sequences at once
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import TypeAlias

from server.accounts.rate_windows import MINUTE_S, Requests, Tokens
from server.ledger.records import Caller, KeyLimits

Headers: TypeAlias = list[tuple[bytes, bytes]]
Clock: TypeAlias = Callable[[], float]


class LimitExceeded(Exception):
    """Waiting `retry_after_s` whole seconds succeeds, unless the key's other requests take the
    room."""

    def __init__(self, message: str, wait_s: float, headers: Headers) -> None:
        super().__init__(message)
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
    """One admitted request, holding slots of its key until it is released."""

    caller: Caller
    tokens: int | None
    """The key's tokens a minute; None: no limit, so nothing is to be counted."""
    headers: Headers
    slots: int = 1
    """One a sequence."""


class RateAccount:
    """One key: its limits, the server's defaults filled in, and what it has used of them. A change
    of the limits forgets nothing of what was used."""

    __slots__ = (
        "burst",
        "concurrent",
        "held",
        "limits",
        "rate",
        "requests",
        "slots",
        "spent",
        "tokens",
        "wall_clock",
    )

    def __init__(self, limits: KeyLimits, defaults: KeyLimits, wall_clock: Clock) -> None:
        self.wall_clock = wall_clock
        self.requests = Requests()
        self.spent = Tokens()
        self.slots: dict[Admission, float] = {}
        """The requests that hold slots, oldest first, and since when."""
        self.held = 0
        """Slots, of all of them."""
        self.set_limits(limits, defaults)

    def set_limits(self, limits: KeyLimits, defaults: KeyLimits) -> None:
        self.limits = limits
        self.rate = first(limits.requests_per_minute, defaults.requests_per_minute)
        self.burst = first(limits.burst, defaults.burst)
        self.concurrent = first(limits.concurrent, defaults.concurrent)
        self.tokens = limits.tokens_per_minute
        """A minute; None: no limit."""

    def headers(self, now: float) -> Headers:
        """X-RateLimit-*. Remaining counts the plain rate; the burst is extra. Reset is when the
        oldest counted request leaves the window, in Unix seconds."""
        remaining = self.rate - self.requests.count(now)
        reset = self.wall_clock() + self.requests.oldest_ends(now) - now
        return [
            (b"x-ratelimit-limit", b"%d" % self.rate),
            (b"x-ratelimit-remaining", b"%d" % max(0, remaining)),
            (b"x-ratelimit-reset", b"%d" % ceil(reset)),
        ]

    def has_room(self, slots: int) -> bool:
        """An idle key has room for one, also where its limit is 0."""
        return not self.held or self.held + slots <= self.concurrent

    def concurrency_limited(
        self, slots: int, wait_s: float, headers: Headers
    ) -> ConcurrencyLimited:
        return ConcurrencyLimited(
            f"This API key has {self.held} of {self.concurrent} sequences in flight, and {slots} "
            "more would be too many; send the next request when one of them has ended.",
            wait_s,
            headers,
        )

    def room_since(self, slots: int) -> float:
        """When that request began with whose end there is room for `slots` more."""
        missing, since = self.held + slots - self.concurrent, 0.0
        for admission, began in self.slots.items():
            since, missing = began, missing - admission.slots
            if missing <= 0:
                break
        return since

    def rate_limited(self, now: float) -> RateLimited:
        most = self.rate + self.burst
        return RateLimited(
            f"This API key may send {self.rate} requests a minute "
            f"and {self.burst} more in a burst; it did.",
            self.requests.room_at(most) - now if most else MINUTE_S,
            self.headers(now),
        )

    def token_limited(self, now: float) -> RateLimited:
        return RateLimited(
            f"This API key may use {self.tokens} tokens a minute; it did.",
            self.spent.ends - now,
            self.headers(now),
        )


class Limiter:
    """Belongs to one event loop."""

    def __init__(
        self,
        *,
        requests_per_minute: int = 1000,
        burst: int = 100,
        concurrent: int = 50,
        slot_s: float = 600.0,
        clock: Clock = time.monotonic,
        wall_clock: Clock = time.time,
    ) -> None:
        self.defaults = KeyLimits(
            requests_per_minute=requests_per_minute, burst=burst, concurrent=concurrent
        )
        self.slot_s = slot_s
        """No request holds its slots for longer: the server's request timeout."""
        self.clock = clock
        """Windows and slots: a wall clock that is set would stretch or open them."""
        self.wall_clock = wall_clock
        """What is shown."""
        self.accounts: dict[str, RateAccount] = {}

    def admit(self, caller: Caller, slots: int = 1) -> Admission:
        """Count one request and hold a slot for it; `slots` 0: none, it will generate nothing.
        Raises LimitExceeded; then nothing counts."""
        account, now = self.account(caller), self.clock()
        if slots and not account.has_room(slots):
            wait_s = account.room_since(1) + self.slot_s - now
            raise account.concurrency_limited(1, wait_s, account.headers(now))
        if account.tokens is not None and account.spent.count(now) >= account.tokens:
            raise account.token_limited(now)
        if account.requests.count(now) >= account.rate + account.burst:
            raise account.rate_limited(now)
        account.requests.add(now)
        admission = Admission(caller, account.tokens, account.headers(now), slots)
        account.slots[admission] = now
        account.held += slots
        return admission

    def widen(self, admission: Admission, slots: int) -> None:
        """Hold `slots` for it, where `admit` took one or none. Raises ConcurrencyLimited, with no
        headers but Retry-After: the admission has the others. Nobody may ask for more than
        `concurrent`, since that would never succeed."""
        account, more = self.account(admission.caller), slots - admission.slots
        if more > 0 and account.held + more > account.concurrent:
            wait_s = account.room_since(more) + self.slot_s - self.clock()
            raise account.concurrency_limited(more, wait_s, [])
        admission.slots += more
        account.held += more

    def in_flight(self, caller: Caller) -> int:
        """Slots that the key holds now."""
        return self.account(caller).held

    def concurrent(self, caller: Caller) -> int:
        """Slots that the key may hold."""
        return self.account(caller).concurrent

    def release(self, admission: Admission, *, tokens: int = 0) -> None:
        """Free the slots and count the request's tokens. The second time does nothing."""
        account = self.accounts[admission.caller.key_id]
        if account.slots.pop(admission, None) is None:
            return
        account.held -= admission.slots
        if admission.tokens is not None and tokens:
            account.spent.add(tokens, self.clock())

    def spend(self, caller: Caller, tokens: int) -> None:
        """Count tokens of what held no slot of its key."""
        account = self.account(caller)
        if account.tokens is not None and tokens:
            account.spent.add(tokens, self.clock())

    def headers(self, caller: Caller) -> Headers:
        """X-RateLimit-* as they stand; nothing is counted."""
        return self.account(caller).headers(self.clock())

    def account(self, caller: Caller) -> RateAccount:
        account = self.accounts.get(caller.key_id)
        if account is None:
            account = self.accounts[caller.key_id] = RateAccount(
                caller.limits, self.defaults, self.wall_clock
            )
        elif account.limits is not caller.limits:
            account.set_limits(caller.limits, self.defaults)
        return account


def first(own: int | None, default: int | None) -> int:
    """The key's own limit, or the server's default."""
    chosen = default if own is None else own
    assert chosen is not None
    return chosen
