"""Limits per key: what is admitted, what the headers say, and that Retry-After is true."""

import time
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.accounts.limits import ConcurrencyLimited, Limiter, LimitExceeded, RateLimited
from server.ledger.records import Caller, KeyLimits


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


def caller(key_id: str = "k", **limits: int) -> Caller:
    return Caller(key_id=key_id, name="n", owner="o", limits=KeyLimits(**limits))


def value(headers: list[tuple[bytes, bytes]], name: str) -> int:
    (found,) = [v for n, v in headers if n == name.encode()]
    return int(found)


def one_request(limiter: Limiter, who: Caller, tokens: int = 0) -> None:
    limiter.release(limiter.admit(who), tokens=tokens)


def test_the_contracts_defaults_hold() -> None:
    limiter = Limiter(clock=Clock())
    for _ in range(1100):
        one_request(limiter, caller())
    with pytest.raises(RateLimited) as refusal:
        limiter.admit(caller())
    assert refusal.value.retry_after_s == 60
    assert value(refusal.value.headers, "x-ratelimit-limit") == 1000
    assert value(refusal.value.headers, "x-ratelimit-remaining") == 0


def test_the_headers_count_down_and_tell_when_room_comes_back() -> None:
    clock = Clock()
    limiter = Limiter(requests_per_minute=3, burst=1, clock=clock, wall_clock=clock)
    seen = []
    for _ in range(4):
        admission = limiter.admit(caller())
        limiter.release(admission)
        seen.append(value(admission.headers, "x-ratelimit-remaining"))
    assert seen == [2, 1, 0, 0]
    assert value(admission.headers, "x-ratelimit-reset") == 1_700_000_060
    assert value(admission.headers, "x-ratelimit-limit") == 3


def test_headers_can_be_had_without_counting() -> None:
    limiter = Limiter(requests_per_minute=3, clock=Clock())
    assert value(limiter.headers(caller()), "x-ratelimit-remaining") == 3
    assert value(limiter.headers(caller()), "x-ratelimit-remaining") == 3


def test_any_minute_holds_at_most_the_limit_also_across_its_edge() -> None:
    clock = Clock()
    limiter = Limiter(requests_per_minute=10, burst=0, clock=clock)
    for _ in range(5):
        one_request(limiter, caller())
    clock.now += 59
    for _ in range(5):
        one_request(limiter, caller())
    clock.now += 1.5  # the first five have left, the second five have not
    for _ in range(5):
        one_request(limiter, caller())
    with pytest.raises(RateLimited):
        limiter.admit(caller())


@settings(max_examples=200, deadline=None)
@given(
    st.integers(1, 5),
    st.integers(0, 3),
    st.lists(st.floats(0, 30), min_size=1, max_size=60),
)
def test_waiting_for_retry_after_always_succeeds(
    rate: int, burst: int, pauses: list[float]
) -> None:
    clock = Clock()
    limiter = Limiter(requests_per_minute=rate, burst=burst, clock=clock)
    admitted: list[float] = []
    for pause in pauses:
        clock.now += pause
        try:
            one_request(limiter, caller())
        except RateLimited as refusal:
            clock.now += refusal.retry_after_s
            one_request(limiter, caller())
        admitted.append(clock.now)
        assert sum(1 for at in admitted if at > clock.now - 60) <= rate + burst


def test_a_slot_is_held_until_it_is_released_and_only_once() -> None:
    clock = Clock()
    limiter = Limiter(concurrent=2, slot_s=30.0, clock=clock)
    first, second = limiter.admit(caller()), limiter.admit(caller())
    clock.now += 10
    with pytest.raises(ConcurrencyLimited) as refusal:
        limiter.admit(caller())
    assert refusal.value.retry_after_s == 20  # by then the oldest has met its time limit
    limiter.release(first)
    limiter.release(first)
    third = limiter.admit(caller())
    with pytest.raises(ConcurrencyLimited):
        limiter.admit(caller())
    limiter.release(second)
    limiter.release(third)
    assert limiter.in_flight(caller()) == 0


def test_a_refused_request_counts_as_nothing() -> None:
    limiter = Limiter(requests_per_minute=2, burst=0, concurrent=1, clock=Clock())
    admission = limiter.admit(caller())
    for _ in range(5):
        with pytest.raises(ConcurrencyLimited):
            limiter.admit(caller())
    limiter.release(admission)
    assert value(limiter.headers(caller()), "x-ratelimit-remaining") == 1


def test_each_key_has_its_own_room_and_its_own_limits() -> None:
    limiter = Limiter(requests_per_minute=1, burst=0, clock=Clock())
    one_request(limiter, caller("a"))
    one_request(limiter, caller("b"))
    generous = caller("c", requests_per_minute=5, burst=2, concurrent=1)
    for _ in range(7):
        one_request(limiter, generous)
    with pytest.raises(RateLimited):
        limiter.admit(generous)
    with pytest.raises(RateLimited):
        limiter.admit(caller("a"))


def test_a_change_of_a_keys_limits_forgets_nothing_of_what_it_used() -> None:
    clock = Clock()
    limiter = Limiter(burst=0, clock=clock)
    for _ in range(10):
        one_request(limiter, caller(requests_per_minute=10))
        clock.now += 1
    lowered = caller(requests_per_minute=3)
    with pytest.raises(RateLimited) as refusal:
        limiter.admit(lowered)
    assert refusal.value.retry_after_s == 57  # when only the last two still count
    clock.now += refusal.value.retry_after_s
    one_request(limiter, lowered)
    with pytest.raises(RateLimited):
        limiter.admit(lowered)
    one_request(limiter, caller(requests_per_minute=4))


def test_tokens_a_minute_refuse_until_their_minute_is_over() -> None:
    clock = Clock()
    limiter = Limiter(clock=clock)
    who = caller(tokens_per_minute=100)
    one_request(limiter, who, tokens=99)
    clock.now += 5.5
    one_request(limiter, who, tokens=50)
    with pytest.raises(RateLimited, match="100 tokens a minute") as refusal:
        limiter.admit(who)
    assert refusal.value.retry_after_s == 55
    clock.now += refusal.value.retry_after_s
    one_request(limiter, who)


def test_every_refusal_carries_retry_after_once() -> None:
    limiter = Limiter(requests_per_minute=1, burst=0, clock=Clock())
    one_request(limiter, caller())
    with pytest.raises(LimitExceeded) as refusal:
        limiter.admit(caller())
    assert value(refusal.value.headers, "retry-after") == refusal.value.retry_after_s


def test_an_admission_costs_tens_of_microseconds_with_a_full_window() -> None:
    limiter = Limiter(requests_per_minute=1_000_000)
    who = caller()
    for _ in range(2000):
        one_request(limiter, who)
    rounds = []
    for _ in range(20):
        began = time.thread_time()
        for _ in range(1000):
            one_request(limiter, who)
        rounds.append((time.thread_time() - began) / 1000)
    assert min(rounds) < 60e-6


def test_a_key_is_counted_exactly_over_hours_and_its_past_is_let_go() -> None:
    clock = Clock()
    limiter = Limiter(requests_per_minute=100, burst=0, clock=clock)
    admitted: list[float] = []
    for _ in range(20_000):
        clock.now += 0.25
        with suppress(RateLimited):
            one_request(limiter, caller())
            admitted.append(clock.now)
    assert all(b - a >= 60 for a, b in zip(admitted, admitted[100:], strict=False))
    assert len(admitted) > 100 * 80
    assert len(limiter.known(caller())[0].requests.kept) < 300


def test_slots_count_sequences_and_come_back_together() -> None:
    clock = Clock()
    limiter = Limiter(concurrent=4, slot_s=30.0, clock=clock)
    one = limiter.admit(caller())
    clock.now += 5
    many = limiter.admit(caller())
    limiter.widen(many, 3)
    assert limiter.in_flight(caller()) == 4
    with pytest.raises(ConcurrencyLimited):
        limiter.admit(caller())
    limiter.release(many)
    limiter.release(many)
    assert limiter.in_flight(caller()) == 1
    limiter.release(one)
    assert limiter.in_flight(caller()) == 0


def test_more_sequences_than_there_is_room_for_wait_for_as_many_as_are_missing() -> None:
    clock = Clock()
    limiter = Limiter(concurrent=4, slot_s=30.0, clock=clock)
    held = []
    for _ in range(3):
        held.append(limiter.admit(caller()))
        clock.now += 1
    asking = limiter.admit(caller())
    with pytest.raises(ConcurrencyLimited) as refusal:
        limiter.widen(asking, 3)
    limiter.release(asking)
    assert refusal.value.retry_after_s == 28  # the second of the three has ended by then
    assert [name for name, _ in refusal.value.headers] == [b"retry-after"]
    for admission in held[:2]:
        limiter.release(admission)
    limiter.widen(limiter.admit(caller()), 3)
    assert limiter.in_flight(caller()) == 4


def test_a_wall_clock_that_is_set_changes_no_limit_and_shows_the_new_time() -> None:
    clock, wall = Clock(), Clock()
    limiter = Limiter(requests_per_minute=1, burst=0, concurrent=9, clock=clock, wall_clock=wall)
    who = caller(tokens_per_minute=5)
    one_request(limiter, who)
    for jump in (40 * 86_400, -80 * 86_400):
        wall.now += jump
        with pytest.raises(RateLimited) as refusal:
            limiter.admit(who)
        assert refusal.value.retry_after_s == 60
        assert value(refusal.value.headers, "x-ratelimit-reset") == wall.now + 60
    clock.now += 60
    one_request(limiter, who, tokens=9)
    clock.now += 60.5
    one_request(limiter, who)
