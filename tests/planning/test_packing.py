"""Which engines fit together: never over a card's memory, and more cards never make it worse."""

from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from engines.planning.packing import Demand, Room, place, turns

SIZES = st.integers(1, 12)


@st.composite
def rooms(draw: st.DrawFn) -> Room:
    """One to five cards of one or two kinds."""
    capacities = draw(st.tuples(SIZES, SIZES))
    kinds = tuple(draw(st.lists(st.integers(0, 1), min_size=1, max_size=5)))
    host = draw(st.none() | st.integers(0, 12))
    return Room(kinds=kinds, bytes=tuple(capacities[kind] for kind in kinds), host_bytes=host)


@st.composite
def demands(draw: st.DrawFn) -> list[Demand]:
    count = draw(st.integers(1, 5))
    return [
        Demand(
            key=f"e{i}",
            world=draw(st.integers(0, 3)),
            claims={kind: draw(SIZES) for kind in (0, 1)},
            host_bytes=draw(st.integers(0, 6)),
        )
        for i in range(count)
    ]


def smaller(room: Room, without: int) -> Room:
    kept = [i for i in range(len(room.kinds)) if i != without]
    return Room(
        kinds=tuple(room.kinds[i] for i in kept),
        bytes=tuple(room.bytes[i] for i in kept),
        host_bytes=room.host_bytes,
    )


def alone(several: list[Demand], room: Room) -> list[Demand]:
    return [demand for demand in several if place([demand], room) is not None]


def by_trying_all(several: list[Demand], room: Room) -> bool:
    """Whether they fit, by every placement there is."""
    if room.host_bytes is not None and sum(d.host_bytes for d in several) > room.host_bytes:
        return False

    def rest(index: int, free: list[int]) -> bool:
        if index == len(several):
            return True
        demand = several[index]
        for cards in combinations(range(len(free)), demand.world):
            left = list(free)
            for card in cards:
                left[card] -= demand.claims[room.kinds[card]]
            if min(left, default=0) >= 0 and rest(index + 1, left):
                return True
        return False

    return rest(0, list(room.bytes))


@settings(deadline=None)
@given(demands(), rooms())
def test_a_set_fits_exactly_when_some_placement_holds_it(several: list[Demand], room: Room) -> None:
    assert (place(several, room) is not None) == by_trying_all(several, room)


@settings(deadline=None)
@given(demands(), rooms())
def test_no_card_holds_more_than_it_has(several: list[Demand], room: Room) -> None:
    for group in turns(alone(several, room), room):
        placement = place(group, room)
        assert placement is not None
        held = [0] * len(room.kinds)
        for demand in group:
            cards = placement[demand.key]
            assert len(set(cards)) == demand.world
            for card in cards:
                held[card] += demand.claims[room.kinds[card]]
        assert all(taken <= there for taken, there in zip(held, room.bytes, strict=True))


@settings(deadline=None)
@given(demands(), rooms())
def test_each_that_fits_alone_has_exactly_one_turn(several: list[Demand], room: Room) -> None:
    able = alone(several, room)
    served = [demand.key for group in turns(able, room) for demand in group]
    assert sorted(served) == sorted(demand.key for demand in able)


@settings(deadline=None)
@given(demands(), rooms(), st.data())
def test_more_cards_never_make_it_worse(
    several: list[Demand], room: Room, data: st.DataObject
) -> None:
    fewer = smaller(room, data.draw(st.integers(0, len(room.kinds) - 1)))
    able = alone(several, fewer)
    assert {d.key for d in able} <= {d.key for d in alone(several, room)}
    assert len(turns(able, room)) <= len(turns(able, fewer))
    if place(several, fewer) is not None:
        assert place(several, room) is not None


@settings(deadline=None)
@given(demands(), rooms())
def test_the_same_question_has_the_same_answer(several: list[Demand], room: Room) -> None:
    backwards = several[::-1]
    assert place(several, room) == place(backwards, room)
    able = alone(several, room)
    first = [sorted(d.key for d in group) for group in turns(able, room)]
    again = [sorted(d.key for d in group) for group in turns(able[::-1], room)]
    assert first == again


def test_turns_are_as_few_as_can_be() -> None:
    """Each put into the first group with room, the largest first, would take three."""
    sizes = (4, 4, 3, 3, 3, 3)
    several = [Demand(key=f"e{i}", world=1, claims={0: size}) for i, size in enumerate(sizes)]
    assert len(turns(several, Room(kinds=(0,), bytes=(10,)))) == 2
