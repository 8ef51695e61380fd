"""Shares, starvation, credit and debts of the order in which requests get a full engine."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.fairness.fair_queue import MOST_OWNERS, FairQueue
from server.fairness.flow_order import FlowOrder
from server.fairness.lines import MOST_OVERTAKERS, OwnerLine
from server.fairness.turn import FairTurn, ServiceClass

COSTS = st.integers(1, 5_000)
WEIGHTS = st.sampled_from([0.25, 0.5, 1.0, 2.0, 3.0, 10.0])


def turn(
    owner: str = "a",
    cost: float = 100,
    key: str = "k",
    service_class: ServiceClass = "standard",
) -> FairTurn:
    return FairTurn(owner, key, cost, service_class)


def served(queue: FairQueue, count: int) -> Iterator[FairTurn]:
    """So many, each settled as expected before the next."""
    for _ in range(count):
        taken = queue.take()
        yield taken
        queue.settle(taken, taken.cost)


def owners(queue: FairQueue, count: int) -> str:
    return "".join(each.owner for each in served(queue, count))


def test_who_comes_to_an_idle_engine_pays_and_begins_at_nothing() -> None:
    queue, first, second = FairQueue(), turn(), turn()
    queue.admit(first)
    queue.admit(second)
    assert (first.priority, second.priority) == (0, 100)
    for each in (first, second):
        queue.settle(each, 7)
    third = turn()
    queue.admit(third)
    assert third.priority == queue.now == 0


def test_owners_take_turns_whatever_their_numbers() -> None:
    queue = FairQueue()
    for _ in range(1000):
        queue.put(turn("a"))
    queue.put(turn("b"))
    assert "b" in owners(queue, 2)


def test_a_large_request_waits_no_longer_for_its_first_turn() -> None:
    queue = FairQueue()
    for _ in range(1000):
        queue.put(turn("a", 10))
    queue.put(turn("b", 100_000))
    assert "b" in owners(queue, 2)
    queue.put(turn("b", 1))
    assert "b" not in owners(queue, 900)


def test_an_owners_keys_take_turns() -> None:
    queue = FairQueue()
    for _ in range(100):
        queue.put(turn("a", key="k"))
    queue.put(turn("a", key="l"))
    assert "l" in [each.key for each in served(queue, 2)]


def test_many_keys_are_one_owner() -> None:
    queue = FairQueue()
    for number in range(100):
        queue.put(turn("a", key=str(number)))
        queue.put(turn("b"))
    assert Counter(owners(queue, 100)) == {"a": 50, "b": 50}


@pytest.mark.parametrize("real", [10, 100, 400])
def test_weights_are_shares_of_tokens_also_where_estimates_are_wrong(real: int) -> None:
    queue, had = FairQueue({"a": 3.0, "b": 1.0}.__getitem__), Counter[str]()
    for _ in range(2000):
        queue.put(turn("a", 100))
        queue.put(turn("b", 50))
    running: list[FairTurn] = []
    for _ in range(1000):
        taken = queue.take()
        running.append(taken)
        if len(running) == 8:
            first = running.pop(0)
            used = real if first.owner == "a" else 50
            had[first.owner] += used
            queue.settle(first, used)
    assert had["a"] / had["b"] == pytest.approx(3, rel=0.1)


def test_a_weight_holds_from_the_next_request_on() -> None:
    weights = {"a": 1.0, "b": 1.0}
    queue = FairQueue(weights.__getitem__)
    for _ in range(500):
        queue.put(turn("a"))
        queue.put(turn("b"))
    assert Counter(owners(queue, 100)) == {"a": 50, "b": 50}
    weights["a"] = 4.0
    assert Counter(owners(queue, 100))["a"] == pytest.approx(80, abs=2)


def test_an_owner_that_used_more_pays_it_back() -> None:
    queue = FairQueue()
    for _ in range(100):
        queue.put(turn("a"))
        queue.put(turn("b"))
    first = queue.take()
    queue.settle(first, 1100)
    other = "b" if first.owner == "a" else "a"
    assert owners(queue, 10) == other * 10


def test_who_was_away_has_no_credit_and_who_owes_still_owes() -> None:
    queue = FairQueue()
    for _ in range(300):
        queue.put(turn("a"))
    queue.admit(owing := turn("c"))
    queue.settle(owing, 5000)
    assert owners(queue, 20) == "a" * 20
    for _ in range(100):
        queue.put(turn("b"))
        queue.put(turn("c"))
    assert Counter(owners(queue, 50)) == {"a": 25, "b": 25}


def test_what_still_runs_earns_no_credit() -> None:
    """An owner with one long request inside is not idle, yet it did not wait."""
    queue = FairQueue()
    queue.admit(turn("b"))
    for _ in range(300):
        queue.put(turn("a"))
    assert owners(queue, 100) == "a" * 100
    for _ in range(100):
        queue.put(turn("b"))
    assert Counter(owners(queue, 40))["b"] == pytest.approx(20, abs=1)


def test_a_stream_goes_before_a_whole_answer_and_has_no_larger_share() -> None:
    queue = FairQueue()
    for _ in range(200):
        queue.put(turn("a"))
        queue.put(turn("b", service_class="interactive"))
    taken = owners(queue, 200)
    assert taken[0] == "b"
    assert Counter(taken)["b"] == pytest.approx(100, abs=2)


def test_a_keys_own_streams_do_not_keep_its_whole_answers_waiting() -> None:
    queue = FairQueue()
    queue.put(turn())
    for _ in range(100):
        queue.put(turn(service_class="interactive"))
    classes = [each.service_class for each in served(queue, MOST_OVERTAKERS + 1)]
    assert classes == ["interactive"] * MOST_OVERTAKERS + ["standard"]


def test_who_leaves_the_line_costs_nothing() -> None:
    queue = FairQueue()
    left = [turn("a") for _ in range(1000)]
    for each in left:
        queue.put(each)
    queue.put(turn("a"))
    queue.put(turn("b"))
    for each in left:
        queue.remove(each)
    assert len(queue) == 2
    assert sorted(owners(queue, 2)) == ["a", "b"]
    assert len(queue) == queue.inside == 0


def test_places_are_told() -> None:
    queue = FairQueue()
    for _ in range(50):
        queue.put(turn("a"))
    queue.put(middle := turn("a"))
    for _ in range(50):
        queue.put(turn("a"))
    assert queue.place(middle) == (51, 51)
    queue.put(alone := turn("b"))
    assert queue.place(alone) == (2, 1)
    assert queue.place(middle) == (52, 51)
    queue.put(second := turn("a", key="l"))
    assert queue.place(second) == (3, 2)


def test_priorities_in_the_engine_follow_owners_and_keys() -> None:
    """A key's first one goes before another's second, as before other owners', also where those
    run already: whoever has most there is put back first."""
    queue = FairQueue()
    queue.admit(turn("other"))
    mine = [turn("a") for _ in range(3)]
    for each in mine:
        queue.admit(each)
    queue.admit(second_key := turn("a", key="l"))
    queue.admit(newcomer := turn("b"))
    assert [each.priority for each in mine] == [0, 100, 200]
    assert second_key.priority == newcomer.priority == 0


def test_a_keys_requests_keep_their_order_inside_whatever_goes_and_comes() -> None:
    queue = FairQueue()
    inside = [turn("a", cost) for cost in (500, 10, 10, 900, 10)]
    for each in inside:
        queue.admit(each)
    for _ in range(50):
        gone = inside.pop(0)
        queue.settle(gone, gone.cost)
        inside.append(turn("a", 10 + 7 * len(inside) % 3))
        queue.admit(inside[-1])
        priorities = [each.engine_priority for each in inside]
        assert priorities == sorted(priorities)
    queue.admit(other := turn("b"))
    assert other.priority == 0


def test_who_has_nothing_here_is_forgotten() -> None:
    queue = FairQueue()
    queue.admit(turn("stays"))
    for number in range(3 * MOST_OWNERS):
        queue.admit(one := turn(str(number)))
        queue.settle(one, one.cost)
    assert len(queue._owners) <= MOST_OWNERS


class Site:
    """Owners that always want more, on an engine of some seats; what they have had."""

    def __init__(self, weights: Mapping[str, float], seats: int) -> None:
        self.queue = FairQueue(weights.__getitem__)
        self.had: Counter[str] = Counter()
        self.waited: Mapping[str, list[int]] = defaultdict(list)
        self._seats, self._running, self._taken = seats, list[tuple[FairTurn, int]](), 0

    def step(self, real: Sequence[int]) -> None:
        while len(self._running) < self._seats and len(self.queue):
            taken = self.queue.take()
            used = real[self._taken % len(real)]
            self._taken += 1
            self.waited[taken.owner].append(self._taken)
            self._running.append((taken, used))
        done, used = self._running.pop(0)
        self.had[done.owner] += used
        self.queue.settle(done, used)


@settings(max_examples=60, deadline=None)
@given(
    weights=st.lists(WEIGHTS, min_size=2, max_size=6),
    estimates=st.lists(COSTS, min_size=1, max_size=7),
    real=st.lists(COSTS, min_size=1, max_size=5),
    seats=st.integers(1, 9),
)
def test_shares_converge_nobody_starves_and_no_seat_stays_empty(
    weights: list[float], estimates: list[int], real: list[int], seats: int
) -> None:
    names = {str(number): weight for number, weight in enumerate(weights)}
    site = Site(names, seats)
    for number in range(40):
        for name in names:
            site.queue.put(turn(name, estimates[number % len(estimates)]))
    for _ in range(200):
        for name in names:  # whoever was served comes again
            site.queue.put(turn(name, estimates[0]))
        before = len(site.queue)
        site.step(real)
        assert site.queue.inside == seats - 1 or before == 0
    by_weight = [site.had[name] / weight for name, weight in names.items()]
    # each may be ahead by what is estimated wrong or under way, and by one request
    most = 2 * (seats + 2) * (max(estimates) + max(real)) / min(weights)
    assert max(by_weight) - min(by_weight) <= most
    spread = [owner.had for owner in site.queue._owners.values()]
    assert max(spread) - min(spread) <= most


@settings(max_examples=100, deadline=None)
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["put", "admit", "take", "remove", "settle"]),
            st.sampled_from("abc"),
            st.sampled_from("kl"),
            st.sampled_from(["interactive", "standard"]),
            COSTS,
        ),
        max_size=120,
    )
)
def test_any_order_of_events_keeps_count(
    steps: list[tuple[str, str, str, ServiceClass, int]],
) -> None:
    queue = FairQueue({"a": 1.0, "b": 2.0, "c": 0.5}.__getitem__)
    waiting: list[FairTurn] = []
    inside: list[FairTurn] = []
    for what, owner, key, service_class, cost in steps:
        one = turn(owner, cost, key, service_class)
        if what == "put":
            queue.put(one)
            waiting.append(one)
        elif what == "admit":
            queue.admit(one)
            inside.append(one)
        elif what == "take" and waiting:
            taken = queue.take()
            waiting.remove(taken)
            inside.append(taken)
        elif what == "remove" and waiting:
            queue.remove(waiting.pop(cost % len(waiting)))
        elif what == "settle" and inside:
            queue.settle(inside.pop(cost % len(inside)), cost)
        assert (len(queue), queue.inside) == (len(waiting), len(inside))
        assert all(queue.place(each)[1] <= len(waiting) for each in waiting)
    for each in inside:
        queue.settle(each, each.cost)
    for each in waiting:
        queue.remove(each)
    assert not queue._owners
    assert queue.now == 0


def test_a_thousand_owners_in_line_cost_no_more_than_one() -> None:
    """By what is looked at: a heap's entries, never all owners, for who is next and for places."""
    queue = FairQueue()
    turns = [turn(str(number), service_class="interactive") for number in range(1000)]
    for each in turns:
        queue.put(each)
    looked_at = 0

    class Watched(dict[str, OwnerLine]):
        def __iter__(self) -> Iterator[str]:
            raise AssertionError("all of them were looked at")

        def values(self) -> Any:
            raise AssertionError("all of them were looked at")

        def items(self) -> Any:
            raise AssertionError("all of them were looked at")

        def __getitem__(self, name: str) -> OwnerLine:
            nonlocal looked_at
            looked_at += 1
            return super().__getitem__(name)

    queue._owners = Watched(queue._owners)
    assert queue.place(turns[500]) == (1000, 1)
    for _ in range(100):
        taken = queue.take()
        queue.settle(taken, taken.cost)
    assert looked_at <= 301
    assert len(queue._order._heap) <= 2 * len(queue) + 64


@given(
    st.lists(
        st.tuples(st.sampled_from("abcdef"), st.booleans(), st.integers(0, 5), st.integers(0, 2)),
        min_size=1,
        max_size=80,
    )
)
def test_the_order_is_that_of_all_that_are_set(steps: list[tuple[str, bool, int, int]]) -> None:
    order, known = FlowOrder(), dict[str, tuple[int, int]]()
    for name, stays, had, served_at in steps:
        if stays:
            order.set(name, had, served_at)
            known[name] = (had, served_at)
        else:
            order.drop(name)
            known.pop(name, None)
        assert len(order) == len(known)
        if known:
            assert known[order.first()] == min(known.values())
