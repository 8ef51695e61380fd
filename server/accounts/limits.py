"""Rate, concurrency and tokens a minute of a key and of each level above it; in memory, some µs,
nothing awaited.

    limiter = Limiter(requests_per_minute=1000, burst=100, concurrent=50, slot_s=600.0)
    admission = limiter.admit(caller)               # raises RateLimited, ConcurrencyLimited
    limiter.widen(admission, sequences)      # once the body says how many; raises as admit does
    ... admission.headers on the answer, also on its errors; slots are held to the last byte ...
    limiter.release(admission, tokens=usage.total_tokens)     # idempotent
    headers = limiter.headers(caller)          # for an authenticated answer that does not count

A request counts at each level that has a limit, or at none. Any 60 seconds hold at most
requests_per_minute + burst requests of a level. A slot is one sequence that is generated, or a
request that generates none. All headers are raw ASGI pairs, those of the tightest level.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from operator import itemgetter

from server.accounts.limit_exceeded import (
    Clock,
    ConcurrencyLimited,
    Headers,
    LimitExceeded,
    RateLimited,
)
from server.accounts.rate_account import Admission, RateAccount, tightest
from server.accounts.site_shares import SiteShares
from server.ledger.levels import NO_LIMITS
from server.ledger.records import Caller, KeyLimits, LevelKind, LimitedLevel

__all__ = ["Admission", "ConcurrencyLimited", "LimitExceeded", "Limiter", "RateLimited"]


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
        """Of keys."""
        self.slot_s = slot_s
        """No request holds its slots for longer: the server's request timeout."""
        self.clock = clock
        """Windows and slots: a wall clock that is set would stretch or open them."""
        self.wall_clock = wall_clock
        """What is shown."""
        self.accounts: dict[str, RateAccount] = {}
        """By key, and by level above keys."""
        self.shares = SiteShares(self.accounts, clock)
        """What this server may have of each limit."""

    def admit(self, caller: Caller, slots: int = 1) -> Admission:
        """Count one request and hold a slot for it; `slots` 0: none, it will generate nothing.
        Raises LimitExceeded; then nothing counts."""
        accounts, now = self.renewed(caller), self.clock()
        for account in accounts:
            if account.is_full(now, slots):
                raise self.refusal(accounts, now, slots)
        admission = Admission(caller, accounts, [], slots)
        for account in accounts:
            account.take(admission, now)
        admission.headers = shown(accounts, now)
        return admission

    def refusal(self, accounts: tuple[RateAccount, ...], now: float, slots: int) -> LimitExceeded:
        """Of all limits that are reached the one with the longest wait: a shorter would not do."""
        headers = shown(accounts, now)
        refusals = (each.refusals(now, slots, self.slot_s, headers) for each in accounts)
        return max(chain.from_iterable(refusals), key=lambda refused: refused.retry_after_s)

    def widen(self, admission: Admission, slots: int) -> None:
        """Hold `slots` for it, where `admit` took one or none. Raises ConcurrencyLimited, with no
        headers but Retry-After: the admission has the others. Nobody may ask for more than
        `concurrent`, since that would never succeed."""
        more, now = slots - admission.slots, self.clock()
        if more > 0:
            refusals = [
                each.concurrency_limited(more, now, self.slot_s, [])
                for each in admission.accounts
                if each.lacks(more)
            ]
            if refusals:
                raise max(refusals, key=lambda refused: refused.retry_after_s)
        admission.slots += more
        for account in admission.accounts:
            account.held += more

    def hold_form(self, admission: Admission) -> None:
        """The file of its form, where it may need no slot: of so many at once as there are slots.
        Raises ConcurrencyLimited. Idempotent."""
        accounts, now = admission.accounts, self.clock()
        if admission in accounts[0].forms:
            return
        refusals = [
            each.form_limited(next(iter(each.forms.values())) + self.slot_s - now)
            for each in accounts
            if each.lacks_form()
        ]
        if refusals:
            raise max(refusals, key=lambda refused: refused.retry_after_s)
        for account in accounts:
            account.forms[admission] = now

    def leave_form(self, admission: Admission) -> None:
        """Its file is closed, or it has a slot. Idempotent."""
        for account in admission.accounts:
            account.forms.pop(admission, None)

    def in_flight(self, caller: Caller) -> int:
        """Slots that the key holds now."""
        return self.known(caller)[0].held

    def concurrent(self, caller: Caller) -> int:
        """Slots that the key may hold, at the tightest level."""
        return min(each.concurrent for each in self.known(caller) if each.concurrent is not None)

    def release(self, admission: Admission, *, tokens: int = 0) -> None:
        """Free the slots and count the request's tokens. The second time does nothing."""
        for account in admission.accounts:
            if not account.free(admission):
                return
            if account.tokens is not None and tokens:
                account.spend(tokens, self.clock())

    def spend(self, caller: Caller, tokens: int) -> None:
        """Count tokens of what held no slot of its key."""
        for account in self.known(caller):
            if account.tokens is not None and tokens:
                account.spend(tokens, self.clock())

    def headers(self, caller: Caller) -> Headers:
        """X-RateLimit-* as they stand; nothing is counted."""
        return shown(self.renewed(caller), self.clock())

    def known(self, caller: Caller) -> tuple[RateAccount, ...]:
        """The accounts of a caller who was admitted before: its limits may be others by now."""
        account = self.accounts.get(caller.key_id)
        return self.renewed(caller) if account is None else (account, *account.above)

    def renewed(self, caller: Caller) -> tuple[RateAccount, ...]:
        """The accounts of a caller who comes in, the key's first, with the limits of now."""
        account = self.accounts.get(caller.key_id)
        if account is None:
            account = self.opened(caller.key_id, "key", "This API key", self.defaults)
        if account.limits is not caller.limits:
            account.set_limits(caller.limits)
        account.above = tuple(map(self.level, caller.levels)) if caller.levels else ()
        return (account, *account.above)

    def levels_changed(
        self,
        levels_of: Callable[[str], Sequence[LimitedLevel]],
        key_ids: Iterable[str] | None = None,
    ) -> None:
        """What is in flight counts at each limited level that is above its key by now, also where
        that had no limits as it was admitted. `levels_of`: by a key's id. `key_ids`: of these
        alone."""
        ids = self.accounts if key_ids is None else key_ids
        known = ((key_id, self.accounts.get(key_id)) for key_id in ids)
        busy = [(key_id, each) for key_id, each in known if each and each.holds_of_a_key]
        late: dict[RateAccount, None] = {}
        for key_id, account in busy:
            for each in map(self.level, levels_of(key_id)):
                for admission, since in account.slots.items():
                    if admission not in each.slots:
                        each.take_late(admission, since)
                        late[each] = None
        for each in late:
            each.slots = dict(sorted(each.slots.items(), key=itemgetter(1)))

    def level(self, level: LimitedLevel) -> RateAccount:
        account = self.accounts.get(level.level_id)
        if account is None:
            account = self.opened(level.level_id, level.kind, level.title, NO_LIMITS)
        if account.limits is not level.limits:
            account.title = level.title
            account.set_limits(level.limits)
        return account

    def opened(
        self, level_id: str, kind: LevelKind, title: str, defaults: KeyLimits
    ) -> RateAccount:
        account = RateAccount(level_id, kind, title, defaults, self.wall_clock, self.shares)
        account.above = ()
        self.accounts[level_id] = account
        return account


def shown(accounts: tuple[RateAccount, ...], now: float) -> Headers:
    account = accounts[0] if len(accounts) == 1 else tightest(accounts, now)
    return account.headers(now)
