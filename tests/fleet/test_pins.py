"""Which pinned engines leave a model no room, from a snapshot."""

from typing import Any

import pytest

from engines.fleet.device_memory import HOST, DeviceMemory, MemoryNeed
from engines.fleet.pins import in_the_way
from engines.fleet.view import EngineView

ROOM = DeviceMemory((100, 100), host_bytes=100)


def on(*devices: int, each: int = 60, host: int = 0, **facts: Any) -> EngineView:
    need = MemoryNeed(bytes_each=each, devices=len(devices), host_bytes=host)
    facts = {"state": "ready", "is_pinned": True, **facts}
    return EngineView(key=f"on{devices}", devices=devices, need=need, **facts)


def wants(each: int = 60, devices: int = 1, host: int = 0) -> EngineView:
    need = MemoryNeed(bytes_each=each, devices=devices, host_bytes=host)
    return EngineView(key="wants", need=need)


@pytest.mark.parametrize(
    ("engine", "others", "is_kept_out"),
    [
        (wants(), [], False),
        (wants(), [on(0)], False),  # the other card
        (wants(), [on(0), on(1)], True),
        (wants(), [on(0), on(1, is_pinned=False)], False),
        (wants(), [on(0), on(1, is_unwanted=True)], False),  # an operator ends it
        (wants(), [on(0), on(1, state="starting")], True),
        (wants(), [on(0), on(1, state="stopping")], False),
        (wants(each=40), [on(0), on(1)], False),  # beside them
        (wants(devices=2), [on(0)], True),
        (wants(each=101), [on(0)], False),  # never, and not because of a pin
        (wants(each=0, devices=0, host=60), [on(HOST, each=0, host=60)], True),
        (wants(each=0, devices=0, host=40), [on(HOST, each=0, host=60)], False),
    ],
)
def test_a_model_is_kept_out_where_the_pinned_ones_leave_no_room(
    engine: EngineView, others: list[EngineView], is_kept_out: bool
) -> None:
    assert bool(in_the_way(engine, [engine, *others], ROOM)) is is_kept_out
    assert in_the_way(engine, [engine, *others], None) == []


def test_a_pinned_engine_is_not_in_its_own_way_and_what_is_unknown_has_room() -> None:
    assert in_the_way(on(0), [on(0), on(1)], ROOM) == []
    unknown = EngineView(key="unknown")
    assert in_the_way(unknown, [unknown, on(0), on(1)], ROOM) == []
