"""Rate, concurrency and tokens a minute per key; in memory, some µs, nothing awaited.

    limiter = Limiter(requests_per_minute=1000, burst=100, concurrent=50, slot_s=600.0)
    admission = limiter.admit(caller)               # raises RateLimited, ConcurrencyLimited
    ... admission.headers on the answer, also on its errors; the slot is held to the last byte ...
    limiter.release(admission, tokens=usage.total_tokens)     # idempotent
    headers = limiter.headers(caller)          # for an authenticated answer that does not count

Any 60 seconds hold at most requests_per_minute + burst requests of a key. All headers are raw ASGI
pairs.

LimitExceeded               .retry_after_s, .headers (Retry-After among them)
├── RateLimited             requests or tokens a minute
└── ConcurrencyLimited      too many requests at once
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import TypeAlias

from limits.limits import RateLimitItemPerMinute
from limits.strategies import FixedWindowRateLimiter, MovingWindowRateLimiter

from server.ledger.records import Caller, KeyLimits
from server.windows import Windows

Headers: TypeAlias = list[tuple[bytes, bytes]]


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
    """Too many requests at once. The wait is until the oldest has reached its time limit: the only
    moment by which a slot is free for certain."""


@dataclass(slots=True, eq=False)
class Admission:
    """One admitted request, holding a slot of its key until it is released."""

    key_id: str
    tokens: RateLimitItemPerMinute | None
    headers: Headers


@dataclass(slots=True)
class Allowance:
    """One key's limits, the server's defaults filled in."""

    rate: int
    requests: RateLimitItemPerMinute
    concurrent: int
    tokens: RateLimitItemPerMinute | None


class Limiter:
    """Belongs to one event loop."""

    def __init__(
        self,
        *,
        requests_per_minute: int = 1000,
        burst: int = 100,
        concurrent: int = 50,
        slot_s: float = 600.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.defaults = KeyLimits(
            requests_per_minute=requests_per_minute, burst=burst, concurrent=concurrent
        )
        self.slot_s = slot_s
        """No request holds its slot for longer: the server's request timeout."""
        self.clock = clock
        windows = Windows(clock)
        self.moving = MovingWindowRateLimiter(windows)
        self.fixed = FixedWindowRateLimiter(windows)
        self.allowances: dict[KeyLimits, Allowance] = {}
        self.slots: dict[str, dict[Admission, float]] = {}
        """Per key the requests that hold a slot, oldest first, and since when."""

    def admit(self, caller: Caller) -> Admission:
        """Count one request and hold a slot for it. Raises LimitExceeded; then nothing counts."""
        allowance = self.allowance(caller.limits)
        slots = self.slots.get(caller.key_id)
        if slots is not None and len(slots) >= allowance.concurrent:
            raise self.concurrency_limited(caller, allowance, next(iter(slots.values())))
        if allowance.tokens is not None and not self.fixed.test(allowance.tokens, caller.key_id):
            raise self.token_limited(caller, allowance.tokens)
        if not self.moving.hit(allowance.requests, caller.key_id):
            raise self.rate_limited(caller, allowance)
        admission = Admission(caller.key_id, allowance.tokens, self.headers(caller))
        self.slots.setdefault(caller.key_id, {})[admission] = self.clock()
        return admission

    def in_flight(self, caller: Caller) -> int:
        """Requests of the key that hold a slot now."""
        return len(self.slots.get(caller.key_id, ()))

    def release(self, admission: Admission, *, tokens: int = 0) -> None:
        """Free the slot and count the request's tokens. The second time does nothing."""
        slots = self.slots.get(admission.key_id, {})
        if slots.pop(admission, None) is None:
            return
        if not slots:
            del self.slots[admission.key_id]
        if admission.tokens is not None and tokens:
            self.fixed.hit(admission.tokens, admission.key_id, cost=tokens)

    def headers(self, caller: Caller) -> Headers:
        """X-RateLimit-*. Remaining counts the plain rate; the burst is extra. Reset is when the
        oldest counted request leaves the window."""
        allowance = self.allowance(caller.limits)
        reset, left = self.moving.get_window_stats(allowance.requests, caller.key_id)
        remaining = left - (allowance.requests.amount - allowance.rate)
        return [
            (b"x-ratelimit-limit", b"%d" % allowance.rate),
            (b"x-ratelimit-remaining", b"%d" % max(0, remaining)),
            (b"x-ratelimit-reset", b"%d" % ceil(reset)),
        ]

    def allowance(self, limits: KeyLimits) -> Allowance:
        found = self.allowances.get(limits)
        if found is None:
            found = self.allowances[limits] = self.new_allowance(limits)
        return found

    def new_allowance(self, limits: KeyLimits) -> Allowance:
        rate = first(limits.requests_per_minute, self.defaults.requests_per_minute)
        tokens = limits.tokens_per_minute
        return Allowance(
            rate=rate,
            requests=RateLimitItemPerMinute(
                rate + first(limits.burst, self.defaults.burst), namespace="requests"
            ),
            concurrent=first(limits.concurrent, self.defaults.concurrent),
            tokens=None if tokens is None else RateLimitItemPerMinute(tokens, namespace="tokens"),
        )

    def concurrency_limited(
        self, caller: Caller, allowance: Allowance, oldest: float
    ) -> ConcurrencyLimited:
        return ConcurrencyLimited(
            f"This API key has {allowance.concurrent} requests in flight, its limit; "
            "send the next one when one of them has ended.",
            oldest + self.slot_s - self.clock(),
            self.headers(caller),
        )

    def rate_limited(self, caller: Caller, allowance: Allowance) -> RateLimited:
        reset = self.moving.get_window_stats(allowance.requests, caller.key_id).reset_time
        wait_s = reset - self.clock() if allowance.requests.amount else 60.0
        burst = allowance.requests.amount - allowance.rate
        return RateLimited(
            f"This API key may send {allowance.rate} requests a minute "
            f"and {burst} more in a burst; it did.",
            wait_s,
            self.headers(caller),
        )

    def token_limited(self, caller: Caller, tokens: RateLimitItemPerMinute) -> RateLimited:
        reset = self.fixed.get_window_stats(tokens, caller.key_id).reset_time
        return RateLimited(
            f"This API key may use {tokens.amount} tokens a minute; it did.",
            reset - self.clock(),
            self.headers(caller),
        )


def first(own: int | None, default: int | None) -> int:
    """The key's own limit, or the server's default."""
    chosen = default if own is None else own
    assert chosen is not None
    return chosen
