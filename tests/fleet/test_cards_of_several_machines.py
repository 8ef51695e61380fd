"""Where an engine stands when other machines have cards too: pure."""

import pytest

from engines.fleet.device_memory import DeviceMemory, MemoryNeed

ROOM = DeviceMemory((100, 100, 80, 80, 80, 80, 80, 80), nodes=(0, 0, 1, 1, 2, 2, 2, 2))
"""Two cards here, two in machine 1, four in machine 2."""


@pytest.mark.parametrize(
    ("need", "taken", "cards"),
    [
        (MemoryNeed(bytes_each=60), {}, (0,)),
        (MemoryNeed(bytes_each=60), {0: 60}, (1,)),
        (MemoryNeed(bytes_each=30), {0: 60}, (0,)),  # shared here
        (MemoryNeed(bytes_each=60), {0: 60, 1: 60}, (2,)),
        (MemoryNeed(bytes_each=60), {0: 60, 1: 60, 2: 1}, (3,)),  # whole elsewhere
        (MemoryNeed(bytes_each=10), {0: 100, 1: 100, 2: 10}, (3,)),
        (MemoryNeed(bytes_each=60, devices=2), {0: 60}, (2, 3)),
        (MemoryNeed(bytes_each=60, devices=2), {0: 60, 2: 60}, (4, 5)),
        (MemoryNeed(bytes_each=60, devices=4), {}, (4, 5, 6, 7)),
        (MemoryNeed(bytes_each=60, devices=4), {4: 60}, None),  # not over several: one has four
        (MemoryNeed(bytes_each=60, devices=6), {}, (2, 3, 4, 5, 6, 7)),
        (MemoryNeed(bytes_each=60, devices=5), {}, (2, 4, 5, 6, 7)),  # over several: none has five
        (MemoryNeed(bytes_each=60, devices=7), {}, None),  # never with the server's own
        (MemoryNeed(bytes_each=60, is_bound=True), {0: 60, 1: 60}, None),
        (MemoryNeed(bytes_each=60, preferred=(7,)), {}, (7,)),
        (MemoryNeed(bytes_each=60, preferred=(7,)), {7: 1}, (0,)),
    ],
)
def test_this_machine_then_another_then_several(
    need: MemoryNeed, taken: dict[int, int], cards: tuple[int, ...] | None
) -> None:
    assert ROOM.place(need, taken) == cards


def test_what_is_away_is_not_taken_and_still_counts_as_a_place() -> None:
    away = DeviceMemory((100, 80), nodes=(0, 1), absent=frozenset({1}))
    need = MemoryNeed(bytes_each=60)
    assert away.place(need, {0: 60}) is None
    assert away.place(MemoryNeed(bytes_each=60, preferred=(1,)), {}) == (0,)
    assert away.can_hold(MemoryNeed(bytes_each=80, devices=1, preferred=(1,)))
    none_here = DeviceMemory((80,), nodes=(1,), absent=frozenset({0}))
    assert none_here.place(need, {}) is None
    assert none_here.can_hold(need), "it is waited for, not refused"


def test_elsewhere_an_engine_takes_all_of_its_card() -> None:
    room = DeviceMemory((100, 100), usable=0.9, nodes=(0, 1))
    need = MemoryNeed(bytes_each=50)
    assert room.part(need, (0,)) == pytest.approx(0.45)
    assert room.part(need, (1,)) == pytest.approx(0.9)
