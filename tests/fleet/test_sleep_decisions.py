"""Who sleeps, wakes and is stopped out of its sleep: decided from a snapshot."""

from typing import Any

import pytest

from engines.fleet.actions import Action, Leave, Sleep, Start, Stop, Wake
from engines.fleet.decisions import decide, next_time
from engines.fleet.device_memory import HOST, DeviceMemory, MemoryNeed
from engines.fleet.outlook import Prospect, outlook
from engines.fleet.sleep_rules import SleepRules
from engines.fleet.turns import TurnRules
from engines.fleet.view import EngineView

NEED = MemoryNeed(bytes_each=60, asleep_bytes_each=5, weights_bytes=40)
WHOLE = MemoryNeed(bytes_each=100, asleep_bytes_each=5, weights_bytes=40)
IN_HOST = MemoryNeed(devices=0, host_bytes=80)
ROOM = DeviceMemory((100, 100), host_bytes=100)
TURNS, RULES = TurnRules(settle_s=5.0, turn_s=60.0), SleepRules(host_bytes=100, stay=6.0)


def view(key: str, *devices: int, **facts: Any) -> EngineView:
    known: dict[str, Any] = {
        "need": NEED,
        "weights_bytes": 40,
        "wakes_s": (2.0, 20.0),
        "load_s": 90.0,
    }
    return EngineView(key=key, devices=devices, **(known | facts))


def up(key: str, *devices: int, **facts: Any) -> EngineView:
    """Ready since 0, idle since then."""
    return view(key, *devices, **({"state": "ready", "can_sleep": True} | facts))


def asleep(key: str, *devices: int, **facts: Any) -> EngineView:
    """Lightly, since 10."""
    known = {"state": "sleeping", "sleep_level": 1, "asleep_at": 10.0, "can_sleep": True}
    return view(key, *devices, **(known | facts))


def wants(key: str, since: float = 50.0, **facts: Any) -> EngineView:
    return view(key, state="fetching", is_fetched=True, waiting_since=since, **facts)


@pytest.mark.parametrize(
    ("engines", "actions"),
    [
        # At the end of its time it sleeps, and ends after six times as long.
        ([up("a", 0, keep_s=30.0)], [Sleep("a", 1)]),
        ([up("a", 0, keep_s=30.0, weights_bytes=0)], [Sleep("a", 2)]),
        ([up("a", 0, keep_s=30.0, can_sleep=False)], [Stop("a")]),
        ([up("a", 0, keep_s=30.0, is_pinned=True)], []),
        ([up("a", 0, keep_s=30.0, leases=1)], []),
        ([asleep("a", 0, keep_s=16.0)], []),
        ([asleep("a", 0, keep_s=15.0)], [Stop("a")]),
        ([asleep("a", 0, keep_s=15.0, is_pinned=True)], []),
        ([asleep("a", 0)], []),
        # Two at once share the machine's memory: the second one's weights have no room in it.
        (
            [up("a", 0, keep_s=9.0), up("b", 1, keep_s=9.0), up("c", 1, keep_s=9.0)],
            [Sleep("a", 1), Sleep("b", 1), Sleep("c", 2)],
        ),
        # It wakes where it stands, for a request, once it has room there.
        ([asleep("a", 0, waiting_since=50.0)], [Wake("a")]),
        ([asleep("a", 0, waiting_since=50.0), wants("b", 60.0)], [Wake("a"), Start("b", (1,))]),
        ([asleep("a", 0, waiting_since=50.0), up("b", 0)], [Sleep("b", 1)]),
        ([asleep("a", 0, waiting_since=50.0), up("b", 0, can_sleep=False)], [Stop("b")]),
        ([asleep("a", 0, waiting_since=50.0), up("b", 0, leases=1)], [Leave("b")]),
        ([asleep("a", 0, waiting_since=50.0), view("b", 0, state="falling_asleep")], []),
        ([asleep("a", 0, waiting_since=50.0), view("b", 0, state="starting")], []),
        # Also past its time, while somebody waits for it.
        ([asleep("a", 0, waiting_since=50.0, keep_s=1.0), up("b", 0, leases=1)], [Leave("b")]),
        # Where its card is held for good, it starts anew elsewhere.
        ([asleep("a", 0, waiting_since=50.0), up("b", 0, is_pinned=True)], [Stop("a")]),
        (
            [
                asleep("a", 0, waiting_since=50.0),
                up("b", 0, is_pinned=True),
                up("c", 1, is_pinned=True),
            ],
            [],
        ),
        # Room for another: by sleep, while it has room beside what stays of it.
        ([up("a", 0), up("b", 1, is_pinned=True), wants("c")], [Sleep("a", 1)]),
        ([up("a", 0), up("b", 1, is_pinned=True), wants("c", need=WHOLE)], [Stop("a")]),
        ([asleep("a", 0), up("b", 1, is_pinned=True), wants("c", need=WHOLE)], [Stop("a")]),
        ([asleep("a", 0), up("b", 1, is_pinned=True), wants("c")], [Start("c", (0,))]),
        # The machine's memory is freed for who waits, but not by one that waits longer to wake.
        ([asleep("a", 0), wants("c", need=IN_HOST, weights_bytes=0)], [Stop("a")]),
        (
            [
                asleep("a", 0, waiting_since=40.0),
                up("b", 0, leases=1, ready_at=90.0),
                wants("c", need=IN_HOST, weights_bytes=0),
            ],
            [],
        ),
        # Who is back soon goes before who is not.
        ([up("a", 0, can_sleep=False), up("b", 1), wants("c")], [Sleep("b", 1)]),
        # What an operator says.
        ([up("a", 0, is_to_sleep=True)], [Sleep("a", 1)]),
        ([up("a", 0, is_to_sleep=True, leases=1)], [Leave("a")]),
        ([up("a", 0, is_to_sleep=True, is_leaving=True, leases=1)], []),
        ([asleep("a", 0, is_unwanted=True)], [Stop("a")]),
        ([view("a", 0, state="waking", is_unwanted=True)], [Stop("a")]),
        ([view("a", 0, state="falling_asleep", is_unwanted=True)], []),
    ],
)
def test_who_sleeps_wakes_and_is_stopped(engines: list[EngineView], actions: list[Action]) -> None:
    assert decide(engines, 100.0, ROOM, TURNS, RULES) == actions


def test_without_planned_memory_it_sleeps_and_wakes_all_the_same() -> None:
    idle = up("a", keep_s=30.0, need=None)
    assert decide([idle], 100.0, rules=RULES) == [Sleep("a", 1)]
    assert decide([asleep("a", need=None, waiting_since=50.0)], 100.0) == [Wake("a")]


@pytest.mark.parametrize(
    ("engines", "at"),
    [
        ([up("a", 0, keep_s=200.0)], 200.0),
        ([asleep("a", 0, keep_s=20.0)], 130.0),
        ([asleep("a", 0, waiting_since=50.0), up("b", 0, used_at=99.0)], 101.0),
        ([asleep("a", 0, waiting_since=50.0), up("b", 0, leases=1, ready_at=90.0)], 150.0),
    ],
)
def test_the_owner_looks_again_when_one_may_sleep_or_end(
    engines: list[EngineView], at: float
) -> None:
    assert next_time(engines, 100.0, ROOM, TURNS, RULES) == at


def test_what_sleeps_holds_little_of_its_card_and_its_weights_of_the_machine() -> None:
    engines = [asleep("a", 0), up("b", 0, HOST, need=MemoryNeed(bytes_each=90, host_bytes=10))]
    assert decide([*engines, asleep("c", 1, waiting_since=50.0)], 100.0, ROOM) == [Wake("c")]
    spare = DeviceMemory((100,), spare=(5,))
    full = wants("d", need=WHOLE)
    assert decide([engines[0], full], 100.0, spare, TURNS, RULES) == [Start("d", (0,))]
    assert decide([engines[0], asleep("e", 0), full], 100.0, spare, TURNS, RULES) == [Stop("a")]


def test_the_eta_of_one_that_sleeps_is_its_turn_and_its_wake() -> None:
    prospects = {"a": Prospect(load_s=2.0), "b": Prospect(load_s=7.0, in_state_s=3.0)}
    alone = outlook("a", [asleep("a", 0, waiting_since=50.0)], prospects, 100.0, ROOM, TURNS)
    assert (alone.state, alone.position, alone.eta_s) == ("sleeping", 1, 2.0)
    busy = [asleep("a", 0, waiting_since=50.0), up("b", 0, leases=1, ready_at=90.0)]
    assert outlook("a", busy, prospects, 100.0, ROOM, TURNS).eta_s == 80.0 + 2.0
    waking = [asleep("a", 0, waiting_since=50.0), view("b", 0, state="waking")]
    found = outlook("a", waking, prospects, 100.0, ROOM, TURNS)
    assert (found.position, found.eta_s) == (2, 4.0 + 60.0 + 2.0)
    itself = outlook("b", waking, prospects, 100.0, ROOM, TURNS)
    assert (itself.state, itself.position, itself.eta_s) == ("waking", None, 4.0)
