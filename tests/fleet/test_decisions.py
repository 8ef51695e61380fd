"""What the fleet does next: decided from a snapshot of its engines, no engine needed."""

from typing import Any

import pytest

from engines.fleet.actions import Action, Displace, Fetch, Leave, Refuse, Start, Stay, Stop
from engines.fleet.backoff import Backoff
from engines.fleet.decisions import decide, next_time
from engines.fleet.device_memory import DeviceMemory, MemoryNeed
from engines.fleet.turns import TurnRules
from engines.fleet.view import EngineView


def view(key: str, **facts: Any) -> EngineView:
    return EngineView(key=key, **facts)


def fetched(key: str, **facts: Any) -> EngineView:
    return view(key, state="fetching", is_fetched=True, **facts)


@pytest.mark.parametrize(
    ("engines", "actions"),
    [
        ([], []),
        ([view("a")], []),
        ([view("a", keep_ready=True)], [Fetch("a")]),
        ([view("a", waiting_since=1.0)], [Fetch("a")]),
        ([view("a", state="failed", waiting_since=1.0)], [Fetch("a")]),
        ([view("a", state="failed")], []),
        ([view("a", keep_ready=True, retry_at=101.0)], []),
        ([view("a", keep_ready=True), view("b", waiting_since=5.0)], [Fetch("a"), Fetch("b")]),
        ([view("a", state="starting"), view("b", waiting_since=5.0)], [Fetch("b")]),
        ([view("a", state="stopping"), view("b", waiting_since=5.0)], [Fetch("b")]),
        ([view("a", state="fetching"), view("b", waiting_since=5.0)], [Fetch("b")]),
        ([view("a", state="fetching")], []),
        ([fetched("a")], [Start("a")]),
        ([fetched("a", keep_ready=True), fetched("b", keep_ready=True)], [Start("a")]),
        ([fetched("a", keep_ready=True), fetched("b", waiting_since=5.0)], [Start("b")]),
        ([fetched("a", waiting_since=6.0), fetched("b", waiting_since=5.0)], [Start("b")]),
        ([view("a", state="fetching", waiting_since=1.0), fetched("b")], [Start("b")]),
        ([view("a", state="starting"), fetched("b", waiting_since=5.0)], []),
        ([view("a", state="stopping"), fetched("b", waiting_since=5.0)], []),
        ([view("a", state="ready", is_broken=True), fetched("b", waiting_since=5.0)], [Stop("a")]),
        ([view("a", state="fetching", is_unwanted=True)], [Stop("a")]),
        ([fetched("a", is_unwanted=True, waiting_since=5.0)], [Stop("a")]),
        ([view("a", state="starting", is_unwanted=True)], [Stop("a")]),
        ([view("a", state="stopping", is_unwanted=True)], []),
        ([view("a", state="ready", leases=3), fetched("b", waiting_since=5.0)], [Start("b")]),
    ],
)
def test_the_next_step_follows_from_the_snapshot(
    engines: list[EngineView], actions: list[Action]
) -> None:
    assert decide(engines, now=100.0) == actions


def test_the_owner_sleeps_until_the_first_retry_that_somebody_wants() -> None:
    engines = [view("a", keep_ready=True, retry_at=130.0), view("b", retry_at=110.0)]
    assert next_time(engines, now=100.0) == 130.0
    assert next_time(engines[1:], now=100.0) is None


ONE = MemoryNeed(bytes_each=60)
TWO = MemoryNeed(bytes_each=60, devices=2)
ROOM = DeviceMemory((100, 100))
TURNS = TurnRules(settle_s=5.0, turn_s=60.0)


def on(*devices: int, need: MemoryNeed = ONE, **facts: Any) -> EngineView:
    """An engine that has been ready since 0, by default idle since then."""
    key = facts.pop("key", "on" + "".join(map(str, devices)))
    return view(
        key, **({"state": "ready", "need": need, "devices": devices, "load_s": 9.0} | facts)
    )


def wants(key: str, need: MemoryNeed = ONE, since: float | None = 50.0, **facts: Any) -> EngineView:
    return fetched(key, need=need, waiting_since=since, **facts)


@pytest.mark.parametrize(
    ("engines", "actions"),
    [
        ([wants("a")], [Start("a", (0,))]),
        ([wants("a", TWO)], [Start("a", (0, 1))]),
        ([wants("a"), wants("b")], [Start("a", (0,)), Start("b", (1,))]),
        ([on(0), wants("a")], [Start("a", (1,))]),
        # The fuller card is taken, and the other stays whole.
        ([on(1, need=MemoryNeed(bytes_each=30)), wants("a")], [Start("a", (1,))]),
        # Where one loads or gives memory back, none is started beside it.
        ([on(0, need=MemoryNeed(bytes_each=30), state="starting"), wants("a")], []),
        ([on(0, state="stopping"), wants("a", TWO)], []),
        ([on(0, state="stopping"), wants("a")], [Start("a", (1,))]),
        # An idle one leaves for it, the one that is used least.
        ([on(0, used_at=80.0), on(1, used_at=70.0), wants("a")], [Stop("on1")]),
        ([on(0, load_s=500.0), on(1, used_at=70.0), wants("a")], [Stop("on1")]),
        ([on(0), on(1), wants("a", TWO)], [Stop("on0"), Stop("on1")]),
        ([on(0, leases=1), on(1), wants("a")], [Stop("on1")]),
        # ... but not before it settled, nor one that is pinned, nor for a mere preload.
        ([on(0, used_at=96.0), on(1, used_at=96.0), wants("a")], []),
        ([on(0, used_at=96.0, load_s=1.0), on(1, used_at=96.0), wants("a")], [Stop("on0")]),
        ([on(0, is_pinned=True), on(1), wants("a")], [Stop("on1")]),
        ([on(0, is_pinned=True), on(1, is_pinned=True), wants("a")], []),
        ([on(0), on(1), wants("a", since=None, keep_ready=True)], [Displace("a")]),
        # Busy ones have their turn, then take no more, and end when the last request has ended.
        ([on(0, leases=1), on(1, leases=1, ready_at=50.0), wants("a")], [Leave("on0")]),
        ([on(0, leases=1, ready_at=50.0), on(1, leases=1, ready_at=50.0), wants("a")], []),
        ([on(0, leases=1, load_s=200.0), on(1, leases=2), wants("a")], [Leave("on1")]),
        ([on(0, leases=1, is_leaving=True), on(1, leases=1), wants("a")], []),
        ([on(0, is_leaving=True), on(1, leases=1), wants("a")], [Stop("on0")]),
        ([on(0, leases=1, is_leaving=True), on(1, leases=1)], [Stay("on0")]),
        # What is being freed is promised to who waited longest; others need their own.
        ([on(0, state="stopping"), on(1), wants("a"), wants("b", since=60.0)], [Stop("on1")]),
        ([on(0, state="stopping"), on(1, leases=1, ready_at=50.0), wants("a")], []),
        # What never fits is refused before it is fetched.
        ([view("a", need=MemoryNeed(bytes_each=101), waiting_since=50.0)], [Refuse("a")]),
        ([view("a", need=MemoryNeed(bytes_each=10, devices=3), keep_ready=True)], [Refuse("a")]),
        ([view("a", need=TWO, waiting_since=50.0)], [Fetch("a")]),
        # An operator's wish, and the end of an idle engine's time.
        ([on(0, is_unwanted=True)], [Stop("on0")]),
        ([on(0, is_unwanted=True, leases=1)], [Leave("on0")]),
        # Its memory is promised to who waits: nobody else leaves for that.
        ([on(0, is_unwanted=True, leases=1), on(1), wants("a")], [Leave("on0")]),
        (
            [on(0, is_unwanted=True, leases=1), on(1, is_pinned=True), wants("a", since=None)],
            [Leave("on0")],
        ),
        ([on(0, is_unwanted=True, is_leaving=True, leases=1)], []),
        ([on(0, keep_s=30.0, used_at=60.0)], [Stop("on0")]),
        ([on(0, keep_s=50.0, used_at=60.0)], []),
        ([on(0, keep_s=30.0, leases=1)], []),
        ([on(0, keep_s=30.0, is_pinned=True)], []),
    ],
)
def test_who_starts_where_and_who_makes_room(
    engines: list[EngineView], actions: list[Action]
) -> None:
    assert decide(engines, 100.0, ROOM, TURNS) == actions


@pytest.mark.parametrize(
    ("engine", "why"),
    [
        (on(0, is_broken=True), "broken"),
        (on(0, is_unwanted=True), "operator"),
        (on(0, state="starting", is_unwanted=True), "operator"),
        (on(0, keep_s=30.0), "idle"),
        (on(0), "room"),
    ],
)
def test_an_engine_that_ends_is_told_why(engine: EngineView, why: str) -> None:
    taken = on(1, is_pinned=True)
    stops = [a for a in decide([engine, taken, wants("b")], 100.0, ROOM, TURNS) if a == Stop("on0")]
    assert [stop.why for stop in stops if isinstance(stop, Stop)] == [why]


@pytest.mark.parametrize(
    ("engines", "at"),
    [
        ([on(0, used_at=98.0), on(1, leases=1, ready_at=90.0), wants("a")], 103.0),
        ([on(0, leases=1, ready_at=90.0), on(1, leases=1, ready_at=95.0), wants("a")], 150.0),
        ([on(0, is_pinned=True), on(1, is_pinned=True), wants("a")], None),
        ([on(0, used_at=98.0)], None),
        ([on(0, used_at=98.0, keep_s=60.0)], 158.0),
        ([on(0, leases=1, keep_s=60.0)], 160.0),
    ],
)
def test_the_owner_looks_again_when_somebody_may_leave(
    engines: list[EngineView], at: float | None
) -> None:
    assert next_time(engines, 100.0, ROOM, TURNS) == at


def test_backoff_grows_to_its_bound_and_never_overflows() -> None:
    backoff = Backoff(first_s=1.0, factor=2.0, longest_s=60.0)
    assert [backoff.delay_s(n) for n in (0, 1, 2, 3, 7, 10**6)] == [0.0, 1.0, 2.0, 4.0, 60.0, 60.0]
