"""Limits of the levels above a key: a request counts at all or at none; the tightest is told."""

from contextlib import suppress
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.accounts.limits import ConcurrencyLimited, Limiter, LimitExceeded, RateLimited
from server.ledger.keys import Key
from server.ledger.levels import Above
from server.ledger.records import Caller, KeyLimits
from server.ledger.tenants import MemberLevel, OwnerLevel, SiteLevel
from tests.accounts.test_limits import Clock, value

LEVELS = ("site", "owner", "member", "key")


def caller(key_id: str = "k", of: str = "acme", /, **levels: dict[str, int]) -> Caller:
    """Of a key of Ada's at an owner; `levels`: the limits of each."""
    limits = {name: KeyLimits(**levels.get(name, {})) for name in LEVELS}
    above = (
        MemberLevel(member_id="m", owner=of, name="Ada", limits=limits["member"]),
        OwnerLevel(owner_id="o", name=of, limits=limits["owner"]),
        SiteLevel(limits=limits["site"]),
    )
    key = Key(key_id=key_id, name="n", owner=of, above=Above(above), limits=limits["key"])
    return key.caller()


def limiter_of(clock: Clock, **defaults: Any) -> Limiter:
    return Limiter(clock=clock, wall_clock=clock, slot_s=600.0, **defaults)


@pytest.mark.parametrize(
    ("level", "words"),
    [
        ("key", "This API key may send 3 requests a minute and 0 more in a burst; it did."),
        ("member", "The member Ada may send 3 requests a minute and 0 more in a burst; it did."),
        ("owner", "The owner acme may send 3 requests a minute and 0 more in a burst; it did."),
        ("site", "This site may send so many a minute; it did."),
    ],
)
def test_requests_count_at_each_level_and_the_refusal_says_whose_limit_it_is(
    level: str, words: str
) -> None:
    limiter = limiter_of(Clock())
    who = caller(**{level: {"requests_per_minute": 3, "burst": 0}})
    for _ in range(3):
        limiter.release(limiter.admit(who))
    with pytest.raises(RateLimited) as refusal:
        limiter.admit(who)
    assert str(refusal.value) == words
    assert refusal.value.level == level
    assert refusal.value.retry_after_s == 60


def test_two_keys_of_an_owner_share_its_limit_and_another_owner_has_its_own() -> None:
    limiter = limiter_of(Clock())
    limit = {"requests_per_minute": 4}
    for key_id in ("a", "b", "a", "b"):
        limiter.release(limiter.admit(caller(key_id, owner=limit)))
    for key_id in ("a", "b", "new"):
        with pytest.raises(RateLimited):
            limiter.admit(caller(key_id, owner=limit))
    limiter.release(limiter.admit(caller("c", "other", owner=limit)))


def test_what_one_level_refuses_counts_at_no_level() -> None:
    limiter = limiter_of(Clock())
    limit = {"requests_per_minute": 3}
    full = caller("full", key={"requests_per_minute": 1, "burst": 0}, owner=limit)
    free = caller("free", owner=limit)
    limiter.release(limiter.admit(full))
    for _ in range(5):
        with pytest.raises(RateLimited):
            limiter.admit(full)
    for _ in range(2):
        limiter.release(limiter.admit(free))
    with pytest.raises(RateLimited, match="The owner acme"):
        limiter.admit(free)


def test_the_headers_are_those_of_the_level_with_the_fewest_requests_left() -> None:
    limiter = limiter_of(Clock(), requests_per_minute=5)
    alone = caller("alone", owner={"requests_per_minute": 7})
    first = limiter.admit(alone)
    assert value(first.headers, "x-ratelimit-limit") == 5
    assert value(first.headers, "x-ratelimit-remaining") == 4
    for _ in range(4):
        limiter.admit(caller("busy", owner={"requests_per_minute": 7}))
    now = limiter.headers(alone)
    assert (value(now, "x-ratelimit-limit"), value(now, "x-ratelimit-remaining")) == (7, 2)


def test_no_header_tells_what_the_whole_site_does() -> None:
    limiter = limiter_of(Clock(), requests_per_minute=5)
    who = caller(site={"requests_per_minute": 1, "burst": 1})
    limiter.admit(who)
    assert value(limiter.admit(who).headers, "x-ratelimit-limit") == 5
    with pytest.raises(RateLimited) as refusal:
        limiter.admit(who)
    assert value(refusal.value.headers, "x-ratelimit-remaining") == 3


def test_the_wait_is_the_longest_of_all_that_is_full() -> None:
    clock = Clock()
    limiter = limiter_of(clock)
    who = caller(owner={"requests_per_minute": 1}, member={"tokens_per_minute": 10})
    limiter.release(limiter.admit(who))
    clock.now += 20
    limiter.spend(who, 10)
    with pytest.raises(RateLimited, match="The member Ada may use 10 tokens") as refusal:
        limiter.admit(who)
    assert refusal.value.retry_after_s == 60
    clock.now += 60
    limiter.admit(who)


def test_tokens_count_at_each_level_that_limits_them_and_once() -> None:
    clock = Clock()
    limiter = limiter_of(clock)
    limit = {"tokens_per_minute": 100}
    one, other = caller("a", owner=limit), caller("b", owner=limit)
    admission = limiter.admit(one)
    limiter.release(admission, tokens=60)
    limiter.release(admission, tokens=60)
    limiter.release(limiter.admit(other), tokens=40)
    with pytest.raises(RateLimited, match="The owner acme may use 100 tokens"):
        limiter.admit(one)
    clock.now += 60
    limiter.admit(one)


@pytest.mark.parametrize("level", ["site", "owner", "member"])
def test_slots_are_held_at_each_level_and_come_back_once(level: str) -> None:
    limiter = limiter_of(Clock())
    limit = {level: {"concurrent": 4}}
    one, other = caller("a", **limit), caller("b", **limit)
    wide, narrow = limiter.admit(one), limiter.admit(other)
    limiter.widen(wide, 3)
    with pytest.raises(ConcurrencyLimited) as refusal:
        limiter.admit(other)
    assert refusal.value.level == level
    with pytest.raises(ConcurrencyLimited):
        limiter.widen(narrow, 2)
    assert limiter.concurrent(one) == 4
    for _ in range(2):
        limiter.release(wide)
    limiter.widen(narrow, 4)
    assert (limiter.in_flight(one), limiter.in_flight(other)) == (0, 4)
    limiter.release(narrow)
    assert {account.held for account in limiter.accounts.values()} == {0}


def test_what_cannot_be_widened_at_one_level_is_wider_at_none() -> None:
    limiter = limiter_of(Clock())
    admission = limiter.admit(caller(owner={"concurrent": 2}))
    with pytest.raises(ConcurrencyLimited):
        limiter.widen(admission, 3)
    assert {account.held for account in limiter.accounts.values()} == {1}


def test_a_change_above_holds_at_once_for_all_keys_and_forgets_nothing() -> None:
    limiter = limiter_of(Clock())
    early = limiter.admit(caller("a", owner={"concurrent": 9}))
    limiter.admit(caller("b", owner={"concurrent": 2}))
    with pytest.raises(ConcurrencyLimited, match="2 of 2"):
        limiter.admit(caller("c", owner={"concurrent": 2}))
    with pytest.raises(ConcurrencyLimited):  # an earlier request brings no earlier limit back
        limiter.widen(early, 2)
    limiter.admit(caller("c"))  # without any


def test_a_member_is_called_what_it_is_called_now() -> None:
    limiter, limits = limiter_of(Clock()), KeyLimits(requests_per_minute=1)
    for name in ("Ada", "Ada Lovelace"):
        ada = MemberLevel(member_id="m", owner="acme", name=name, limits=replace(limits))
        key = Key(key_id="k", name="n", owner="acme", above=Above((ada,)))
        with suppress(RateLimited):
            limiter.admit(key.caller())
    with pytest.raises(RateLimited, match="The member Ada Lovelace may send"):
        limiter.admit(key.caller())


@settings(max_examples=150, deadline=None)
@given(
    st.fixed_dictionaries({}, optional={name: st.integers(1, 4) for name in LEVELS}),
    st.fixed_dictionaries({}, optional={name: st.integers(1, 30) for name in LEVELS}),
    st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 30), st.integers(0, 9)), max_size=40),
)
def test_waiting_for_retry_after_always_succeeds_and_no_level_is_exceeded(
    rates: dict[str, int], tokens: dict[str, int], asked: list[tuple[str, float, int]]
) -> None:
    clock = Clock()
    limiter = limiter_of(clock)
    limits: dict[str, dict[str, int]] = {name: {"burst": 0} for name in rates}
    for name, rate in rates.items():
        limits[name]["requests_per_minute"] = rate
    for name, most in tokens.items():
        limits.setdefault(name, {})["tokens_per_minute"] = most
    admitted: list[tuple[str, float]] = []
    for key_id, pause, used in asked:
        clock.now += pause
        who = caller(key_id, **limits)
        for again in count():
            try:
                admission = limiter.admit(who)
            except LimitExceeded as refusal:
                assert not again
                clock.now += refusal.retry_after_s
            else:
                break
        limiter.release(admission, tokens=used)
        admitted.append((key_id, clock.now))
        recent = [key for key, at in admitted if at > clock.now - 60]
        for name, rate in rates.items():
            assert (recent.count(key_id) if name == "key" else len(recent)) <= rate


def test_a_new_limit_counts_what_runs_already() -> None:
    """Of all keys below its level, oldest first, until each ends; what was counted is no twice."""
    clock = Clock()
    limiter = limiter_of(clock)
    before = {name: caller(name) for name in ("a", "b")}
    other = limiter.admit(caller("c", "other"))
    running = []
    for name in ("b", "a", "b"):
        running.append(limiter.admit(before[name]))
        clock.now += 1.0
    limiter.widen(running[0], 3)
    limits = {"concurrent": 6, "tokens_per_minute": 100}
    now = {name: caller(name, owner=limits) for name in ("a", "b")}

    def change(callers: dict[str, Caller]) -> None:
        limiter.levels_changed(lambda key_id: callers[key_id].levels if key_id in callers else ())

    for _ in range(2):
        change(now)
    level = limiter.accounts["owner:acme"]
    assert ([*level.slots], level.held) == (running, 5)
    last = limiter.admit(now["a"])
    with pytest.raises(ConcurrencyLimited, match="6 of 6") as refusal:
        limiter.admit(now["b"])
    assert refusal.value.retry_after_s == 597
    limiter.release(running[0], tokens=100)
    assert level.held == 3
    with pytest.raises(RateLimited, match="100 tokens a minute"):
        limiter.admit(now["b"])
    change(before)
    beside = limiter.admit(before["a"])
    assert level.held == 3, "it has no limits now"
    change(now)
    assert level.held == 4
    for each in (*running[1:], last, beside, other):
        limiter.release(each)
    assert {name: account.held for name, account in limiter.accounts.items()} == dict.fromkeys(
        limiter.accounts, 0
    )
    assert not level.slots
