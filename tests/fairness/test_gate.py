"""Who passes an engine's gate, who waits before it, and who is let in when somebody leaves."""

import asyncio
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.fairness.gate import EngineLeft, Gate, TurnPlace
from server.fairness.turn import BATCH_PRIORITY, FairTurn, ServiceClass, equal_weights

pytestmark = pytest.mark.anyio


class Engine:
    """Has so many seats, and room in its cache for so many sequences."""

    def __init__(self, seats: int, cache: int = 1 << 30) -> None:
        self.seats, self.cache = seats, cache

    def waiting_for_cache(self, sequences: int) -> int:
        return max(0, sequences - self.cache)


class Site:
    def __init__(self, engine: object) -> None:
        self.waiting: Counter[tuple[str, str]] = Counter()
        self.gate = Gate(engine, equal_weights, self.waiting)

    def enter(
        self, owner: str, service_class: ServiceClass = "standard", sequences: int = 1
    ) -> FairTurn:
        turn = FairTurn(owner, owner, 100, service_class, sequences)
        self.gate.enter(turn, "m")
        return turn


def inside(turns: list[FairTurn]) -> list[bool]:
    return [turn.is_inside for turn in turns]


async def test_an_engine_without_seats_is_never_full() -> None:
    site = Site(object())
    assert all(site.enter("a").waiter is None for _ in range(5_000))


async def test_a_margin_waits_inside_and_the_rest_here() -> None:
    site = Site(Engine(seats=16))
    turns = [site.enter("a") for _ in range(30)]
    assert inside(turns) == [True] * 18 + [False] * 12
    assert site.waiting["m", "standard"] == 12
    for turn in turns[:12]:
        site.gate.leave(turn, 100)
    assert inside(turns[12:]) == [True] * 18
    assert site.waiting["m", "standard"] == 0


async def test_a_request_of_many_sequences_is_not_kept_waiting_for_them_all() -> None:
    """As soon as one seat is free it goes: none stays empty for it."""
    site = Site(Engine(seats=8))
    assert site.enter("a", sequences=20).is_inside
    second = site.enter("b", sequences=3)
    assert not second.is_inside
    third = site.enter("c")
    site.gate.leave(second, 0)
    assert not third.is_inside


async def test_who_has_nothing_inside_goes_in_where_the_cache_is_full() -> None:
    """There it is the first by its priority; a seat's bound holds."""
    site = Site(Engine(seats=16, cache=4))
    turns = [site.enter("a") for _ in range(20)]
    assert inside(turns) == [True] * 6 + [False] * 14
    newcomer = site.enter("b")
    assert newcomer.is_inside
    assert newcomer.engine_priority == 0 < turns[5].engine_priority
    assert not site.enter("b").is_inside
    for owner in "cdefghijklm":
        assert site.enter(owner).is_inside
    assert not site.enter("n").is_inside


async def test_a_cache_that_has_room_again_is_seen_with_the_next_request() -> None:
    site = Site(engine := Engine(seats=16, cache=4))
    turns = [site.enter("a") for _ in range(10)]
    engine.cache = 16
    site.enter("a")
    assert all(inside(turns))


async def test_batches_wait_behind_everybody_here_and_inside() -> None:
    site = Site(Engine(seats=2))
    first = [site.enter("a") for _ in range(3)]
    batch, other = site.enter("b", "batch"), site.enter("c")
    assert site.gate.place(batch) == TurnPlace(2, 1)
    assert site.gate.place(other) == TurnPlace(1, 1)
    site.gate.leave(first[0], 100)
    assert (batch.is_inside, other.is_inside) == (False, True)
    site.gate.leave(first[1], 100)
    assert batch.is_inside
    assert batch.engine_priority >= BATCH_PRIORITY > other.engine_priority


async def test_a_waiter_that_is_cancelled_as_it_is_let_in_leaves_its_seat() -> None:
    site = Site(Engine(seats=1))
    first, second = site.enter("a"), site.enter("a")
    waits, last = site.enter("a"), site.enter("a")
    assert waits.waiter is not None
    waits.waiter.cancel()  # its task is about to hear of it
    site.gate.leave(first, 1)
    site.gate.leave(waits, 0)
    assert last.is_inside
    for turn in (second, last):
        site.gate.leave(turn, 1)
    assert site.gate._inside == 0
    assert not site.gate._ordinary._owners


async def test_whoever_leaves_twice_frees_one_seat() -> None:
    site = Site(Engine(seats=1))
    turns = [site.enter("a") for _ in range(4)]
    for _ in range(2):
        site.gate.leave(turns[0], 1)
    assert inside(turns) == [False, True, True, False]


async def test_an_engine_that_ends_sends_its_waiters_away() -> None:
    site = Site(Engine(seats=1))
    turns = [site.enter("a") for _ in range(5)]
    batch = site.enter("b", "batch")
    site.gate.end()
    for turn in (*turns[2:], batch):
        assert turn.waiter is not None
        with pytest.raises(EngineLeft):
            await asyncio.wait_for(turn.waiter, 1)
        site.gate.leave(turn, 0)
    assert site.waiting.total() == 0
    assert site.gate.place(batch) is None


async def test_estimates_follow_what_an_owners_answers_have() -> None:
    estimates = Site(Engine(seats=1)).gate.estimates
    for _ in range(50):
        estimates.note("a", 10)
    assert estimates.tokens("a") == pytest.approx(10, abs=1)
    assert estimates.tokens("new") == pytest.approx(10, abs=1)
    for _ in range(50):
        estimates.note("b", 1000)
    assert estimates.tokens("a") == pytest.approx(10, abs=1)


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["enter", "leave", "cache"]),
        st.sampled_from("abc"),
        st.sampled_from(["interactive", "standard", "batch"]),
        st.integers(1, 5),
    ),
    max_size=150,
)


@settings(max_examples=100, deadline=None)
@given(events=EVENTS, seats=st.integers(1, 12))
def test_whatever_comes_and_goes_no_room_is_left_while_somebody_waits(
    events: list[tuple[str, str, ServiceClass, int]], seats: int
) -> None:
    async def all_of_them() -> None:
        site = Site(engine := Engine(seats, cache=seats))
        turns: list[FairTurn] = []
        for what, owner, service_class, number in events:
            if what == "enter":
                turns.append(site.enter(owner, service_class, sequences=number))
            elif what == "cache":
                engine.cache = seats * number // 5
            elif turns:
                site.gate.leave(turns.pop(len(turns) * number // 6), 50 * number)
            within = sum(turn.sequences for turn in turns if turn.is_inside)
            assert site.gate._inside == within
            waiting = [turn for turn in turns if not turn.is_inside]
            assert site.waiting.total() == len(waiting)
            assert all(site.gate.place(turn) for turn in waiting)
            if waiting and what != "cache":
                assert within >= min(site.gate._most, engine.cache)
        for turn in turns:
            site.gate.leave(turn, 0)
        assert site.gate._inside == site.waiting.total() == 0
        assert not site.gate._ordinary._owners
        assert not site.gate._batch._owners

    asyncio.run(all_of_them())
