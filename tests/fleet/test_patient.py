"""Requests that yield, those of batches: whom they make leave, and who makes them leave."""

import asyncio
from typing import Any

import pytest

from engines.fleet.actions import Action, Leave, Start, Stay, Stop
from engines.fleet.decisions import decide, next_time
from engines.fleet.device_memory import DeviceMemory, MemoryNeed
from engines.fleet.fleet import Fleet
from engines.fleet.node_memory import NodeMemory
from engines.fleet.outlook import outlook
from engines.fleet.turns import TurnRules
from engines.fleet.view import EngineView
from engines.registry.spec import EngineSpec
from tests.support.fleets import enter, model, running, scripted, status, until

NEED = MemoryNeed(bytes_each=60)
ROOM = DeviceMemory((100,))
TURNS = TurnRules(settle_s=5.0, turn_s=60.0, patient_turn_s=600.0)


def up(key: str = "up", **facts: Any) -> EngineView:
    defaults: dict[str, Any] = {"state": "ready", "need": NEED, "devices": (0,), "load_s": 30.0}
    return EngineView(key=key, **(defaults | facts))


def wants(key: str, since: float, **facts: Any) -> EngineView:
    state: dict[str, Any] = {"state": "fetching", "is_fetched": True, "need": NEED}
    return EngineView(key=key, waiting_since=since, **(state | facts))


def patient(key: str, since: float) -> EngineView:
    return wants(key, since, is_patient=True)


@pytest.mark.parametrize(
    ("engines", "actions"),
    [
        # An engine with patient requests alone leaves at once, as an idle one.
        ([up(leases=2, patient_leases=2, ready_at=950.0), wants("a", 999.0)], [Leave("up")]),
        ([up(patient_used_at=999.0), wants("a", 999.0)], [Stop("up")]),
        # ... once it has settled,
        ([up(leases=2, patient_leases=2, ready_at=996.0), wants("a", 999.0)], []),
        ([up(leases=2, patient_leases=2, used_at=996.0), wants("a", 999.0)], []),
        # and stays with it while those end, and when they have.
        ([up(leases=1, patient_leases=1, ready_at=950.0, is_leaving=True), wants("a", 9.0)], []),
        ([up(ready_at=950.0, is_leaving=True), wants("a", 9.0)], [Stop("up")]),
        # One with others too has its turn.
        ([up(leases=2, patient_leases=1, ready_at=950.0), wants("a", 9.0)], []),
        ([up(leases=2, patient_leases=1, ready_at=940.0), wants("a", 9.0)], [Leave("up")]),
        # For who is patient it has a long one; among themselves turns are as always.
        ([up(leases=1, ready_at=401.0), patient("a", 9.0)], []),
        ([up(leases=1, ready_at=400.0), patient("a", 9.0)], [Leave("up")]),
        ([up(leases=1, patient_leases=1, ready_at=941.0), patient("a", 9.0)], []),
        ([up(leases=1, patient_leases=1, ready_at=940.0), patient("a", 9.0)], [Leave("up")]),
        ([up(patient_used_at=996.0), patient("a", 9.0)], []),
        # Whoever used it a moment ago may be back.
        ([up(used_at=941.0), patient("a", 9.0)], []),
        ([up(used_at=940.0), patient("a", 9.0)], [Stop("up")]),
        ([up(used_at=900.0, load_s=120.0), patient("a", 9.0)], []),
        ([up(used_at=995.0), wants("a", 9.0)], [Stop("up")]),
        # Nobody else wants its memory any more.
        ([up(leases=1, is_leaving=True, ready_at=900.0), patient("a", 9.0)], [Stay("up")]),
        # Whoever is patient comes after everybody else, however long it has waited.
        ([patient("a", 1.0), wants("b", 999.0)], [Start("b", (0,))]),
        ([patient("a", 2.0), patient("b", 1.0)], [Start("b", (0,))]),
        ([up(), patient("a", 1.0), wants("b", 999.0)], [Stop("up")]),
    ],
)
def test_patient_requests_yield(engines: list[EngineView], actions: list[Action]) -> None:
    assert decide(engines, 1000.0, ROOM, TURNS) == actions


def test_of_two_engines_the_one_with_patient_requests_alone_leaves() -> None:
    room = DeviceMemory((100, 100))
    both = [
        up("x", leases=1, ready_at=100.0),
        up("y", leases=9, patient_leases=9, devices=(1,), ready_at=900.0),
    ]
    assert decide([*both, wants("a", 999.0)], 1000.0, room, TURNS) == [Leave("y")]


def test_an_idle_one_leaves_before_both() -> None:
    room = DeviceMemory((100, 100))
    both = [up("x", used_at=990.0), up("y", leases=1, patient_leases=1, devices=(1,))]
    assert decide([*both, wants("a", 999.0)], 1000.0, room, TURNS) == [Stop("x")]


def test_the_owner_looks_again_when_a_long_turn_is_over() -> None:
    engines = [up(leases=1, ready_at=500.0), patient("a", 9.0)]
    assert next_time(engines, 1000.0, ROOM, TURNS) == 1100.0


def test_use_by_patient_requests_keeps_an_engine_as_any_does() -> None:
    assert decide([up(keep_s=30.0, patient_used_at=980.0)], 1000.0, ROOM, TURNS) == []
    assert decide([up(keep_s=30.0, patient_used_at=970.0)], 1000.0, ROOM, TURNS) == [Stop("up")]


def test_who_waits_is_told_its_place_among_those_that_come_before() -> None:
    def place(own: EngineView, other: EngineView) -> int | None:
        return outlook("own", [own, other], {}, 1000.0, ROOM, TURNS).position

    own, yielding = wants("own", 998.0), patient("own", 998.0)
    assert place(own, wants("o", 1.0)) == place(yielding, wants("o", 999.0)) == 2
    assert place(yielding, patient("o", 1.0)) == 2
    assert place(own, patient("o", 1.0)) == place(yielding, patient("o", 999.0)) == 1


def sharing_one_card() -> dict[str, Any]:
    def need(spec: EngineSpec) -> MemoryNeed:
        return NEED

    turns = TurnRules(settle_s=0.01, turn_s=0.05, patient_turn_s=3600.0)
    return {"memory": NodeMemory(ROOM, need), "turns": turns}


async def held(fleet: Fleet, alias: str, until_set: asyncio.Event) -> None:
    async with fleet.lease(alias, is_patient=True):
        await until_set.wait()


@pytest.mark.anyio
async def test_a_model_with_a_batch_goes_for_a_request_of_another() -> None:
    models = [model("a", scripted("a")), model("b", scripted("b"))]
    async with running(*models, **sharing_one_card()) as fleet:
        over = asyncio.Event()
        line = asyncio.create_task(held(fleet, "a", over))
        await until(lambda: status(fleet, "a").leases == 1)
        asked = asyncio.create_task(enter(fleet, "b"))
        await until(lambda: fleet.engine_of("a").leaving is not None)
        next_line = asyncio.create_task(held(fleet, "a", over))
        over.set()  # what runs comes to its end, what comes next waits
        await asyncio.wait_for(asked, 30)
        await line
        await asyncio.wait_for(next_line, 30)


@pytest.mark.anyio
async def test_a_batch_makes_no_busy_model_leave() -> None:
    models = [model("a", scripted("a")), model("b", scripted("b"))]
    async with running(*models, **sharing_one_card()) as fleet:
        async with fleet.lease("a"):
            line = asyncio.create_task(held(fleet, "b", asyncio.Event()))
            await until(lambda: status(fleet, "b").waiting == 1)
            await until(lambda: fleet.engine_of("b").is_fetched)
            for _ in range(3):
                await asyncio.wait_for(enter(fleet, "a"), 30)
            assert fleet.engine_of("a").leaving is None
        await until(lambda: status(fleet, "b").leases == 1)  # once it is idle
        line.cancel()
