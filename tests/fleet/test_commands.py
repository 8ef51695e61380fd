"""What an operator says to a running fleet: load, unload, pin, unpin."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from engines.base import Engine, EngineBroken, EngineNotLoaded, EngineUnavailable
from engines.fleet.device_memory import DeviceMemory, MemoryNeed
from engines.fleet.fleet import Fleet
from engines.fleet.node_memory import NodeMemory
from engines.fleet.turns import TurnRules
from engines.registry.spec import EngineSpec
from engines.testing.scripted import ScriptedEngine
from tests.support.fleets import PATIENT, Workshop, enter, model, running, scripted, status, until

pytestmark = pytest.mark.anyio

ONE_EACH: dict[str, Any] = {
    "memory": NodeMemory(DeviceMemory((100,)), lambda spec: MemoryNeed(bytes_each=60)),
    "turns": TurnRules(settle_s=0.02, turn_s=0.05),
}


async def done(fleet: Fleet, alias: str, state: str) -> None:
    await until(lambda: status(fleet, alias).command is None)
    assert status(fleet, alias).state == state


async def test_load_loads_without_a_request_and_again_changes_nothing() -> None:
    workshop = Workshop()
    async with running(model("a", scripted()), build=workshop) as fleet:
        for _ in range(3):
            await fleet.commands.give("load", "a")
        await done(fleet, "a", "ready")
        await fleet.commands.give("load", "a")
        await done(fleet, "a", "ready")
        assert (len(workshop.built), status(fleet, "a").loads) == (1, 1)


async def test_load_opens_an_alias_that_no_request_loads_and_unload_closes_it() -> None:
    models = [model("a", scripted(), load="never"), model("b", scripted(), load="never")]
    async with running(*models) as fleet:
        await fleet.commands.give("load", "a")
        await enter(fleet, "a")
        with pytest.raises(EngineNotLoaded):
            await enter(fleet, "b")
        assert status(fleet, "a").closed == {"b"}
        await fleet.commands.give("unload", "a")
        await done(fleet, "a", "cold")
        with pytest.raises(EngineNotLoaded):
            await enter(fleet, "a")


async def test_unload_ends_no_running_request_and_what_comes_meanwhile_loads_it_again() -> None:
    workshop = Workshop()
    async with running(model("a", scripted()), build=workshop) as fleet:
        async with fleet.lease("a") as engine:
            await fleet.commands.give("unload", "a")
            await until(lambda: fleet._by_alias["a"].leaving is not None)
            late = asyncio.create_task(enter(fleet, "a"))
            await until(lambda: status(fleet, "a").waiting == 1)
            await engine.check(1)
            assert status(fleet, "a").command == "unload"
        await asyncio.wait_for(late, 30)
        assert len(workshop.built) == 2


async def test_an_unload_of_an_engine_of_the_start_holds_until_a_request() -> None:
    workshop = Workshop()
    async with running(model("a", scripted(), preload=True), build=workshop) as fleet:
        await until(lambda: status(fleet, "a").state == "ready")
        await fleet.commands.give("unload", "a")
        await done(fleet, "a", "cold")
        for _ in range(5):
            fleet.look_again()
            await asyncio.sleep(0.005)
        assert (status(fleet, "a").state, len(workshop.built)) == ("cold", 1)
        assert fleet.is_ready()
        await enter(fleet, "a")


async def test_load_takes_an_unload_back() -> None:
    workshop = Workshop()
    async with running(model("a", scripted()), build=workshop) as fleet:
        async with fleet.lease("a"):
            await fleet.commands.give("unload", "a")
            await until(lambda: fleet._by_alias["a"].leaving is not None)
            await fleet.commands.give("load", "a")
            await asyncio.wait_for(enter(fleet, "a"), 30)
        await done(fleet, "a", "ready")
        assert len(workshop.built) == 1


class Held(ScriptedEngine):
    """Its start never ends by itself."""

    async def start(self) -> None:
        await asyncio.Event().wait()


async def held_build(spec: EngineSpec) -> Engine:
    await asyncio.Event().wait()
    raise AssertionError


@pytest.mark.parametrize(("build", "state"), [(held_build, "fetching"), (Held, "starting")])
@pytest.mark.parametrize("preload", [False, True])
async def test_unload_ends_a_load_under_way(build: Any, state: str, preload: bool) -> None:
    async with running(model("a", scripted(), preload=preload), build=build) as fleet:
        await fleet.commands.give("load", "a")
        await until(lambda: status(fleet, "a").state == state)
        await fleet.commands.give("unload", "a")
        await done(fleet, "a", "cold")
        assert fleet.is_ready()


async def test_a_load_that_fails_is_told_and_not_tried_again_by_itself() -> None:
    workshop = Workshop()
    spec = scripted(fail_load="no weights")
    async with running(model("a", spec), build=workshop, backoff=PATIENT) as fleet:
        for loads in (1, 2):  # the second one does not wait for the backoff's end
            await fleet.commands.give("load", "a")
            await done(fleet, "a", "failed")
            assert status(fleet, "a").reason == "no weights"
            assert len(workshop.built) == loads


async def test_unload_ends_the_tries_of_what_cannot_start() -> None:
    workshop = Workshop()
    models = model("a", scripted(fail_load="no weights"), preload=True)
    async with running(models, build=workshop) as fleet:
        await until(lambda: status(fleet, "a").state == "failed")
        await fleet.commands.give("unload", "a")
        await until(lambda: status(fleet, "a").command is None)
        built = len(workshop.built)
        await asyncio.sleep(0.1)
        assert len(workshop.built) <= built + 1  # one that was under way


async def test_what_can_never_start_is_not_tried_by_an_operator() -> None:
    class Impossible(ScriptedEngine):
        async def start(self) -> None:
            raise EngineBroken("no such library")

    workshop = Workshop(Impossible)
    async with running(model("a", scripted()), build=workshop) as fleet:
        for _ in range(2):
            await fleet.commands.give("load", "a")
            await done(fleet, "a", "failed")
        assert len(workshop.built) == 1


async def test_an_unload_while_it_breaks_does_not_bring_it_back() -> None:
    class Slow(ScriptedEngine):
        async def stop(self) -> None:
            await may_stop.wait()
            await super().stop()

    may_stop = asyncio.Event()
    workshop = Workshop(Slow)
    async with running(model("a", scripted(), preload=True), build=workshop) as fleet:
        await until(lambda: status(fleet, "a").state == "ready")
        workshop.built[0].kill()
        await until(lambda: fleet._by_alias["a"].state == "stopping")
        await fleet.commands.give("unload", "a")
        may_stop.set()
        await done(fleet, "a", "cold")
        for _ in range(5):
            fleet.look_again()
            await asyncio.sleep(0.005)
        assert len(workshop.built) == 1


async def test_load_makes_room_by_turns_as_a_request_does() -> None:
    models = [model("a", scripted("a")), model("b", scripted("b"))]
    async with running(*models, **ONE_EACH) as fleet:
        async with fleet.lease("a"):
            await fleet.commands.give("load", "b")
            await until(lambda: fleet._by_alias["a"].leaving is not None)
            assert status(fleet, "b").command == "load"
        await done(fleet, "b", "ready")
        assert status(fleet, "a").state == "cold"
        assert status(fleet, "a").unloads == {"room": 1}
        assert status(fleet, "b").turn_wait_s >= 0.04  # the other one's turn


async def test_what_has_no_room_beside_a_pinned_engine_is_refused_until_that_is_unpinned() -> None:
    models = [model("a", scripted("a"), is_pinned=True), model("b", scripted("b"))]
    async with running(*models, **ONE_EACH) as fleet:
        await enter(fleet, "b")
        await enter(fleet, "a")  # a cold one keeps nobody out, and may make others leave
        assert status(fleet, "b").state == "cold"
        for ask in (enter(fleet, "b"), fleet.commands.give("load", "b")):
            with pytest.raises(EngineNotLoaded, match="b has no room: pinned models hold"):
                await asyncio.wait_for(ask, 30)
        await fleet.commands.give("unpin", "a")
        await asyncio.wait_for(enter(fleet, "b"), 30)


async def test_who_waits_is_refused_once_what_it_waits_for_is_pinned() -> None:
    models = [model("a", scripted("a")), model("b", scripted("b"))]
    async with running(*models, **ONE_EACH) as fleet, fleet.lease("a"):
        waits = asyncio.create_task(enter(fleet, "b"))
        await until(lambda: fleet._by_alias["a"].leaving is not None)
        await fleet.commands.give("pin", "a")
        with pytest.raises(EngineNotLoaded, match="has no room"):
            await asyncio.wait_for(waits, 30)
        await asyncio.wait_for(enter(fleet, "a"), 30)  # it stays


async def test_a_pin_keeps_an_engine_beyond_its_time_and_an_unpin_ends_that() -> None:
    async with running(model("a", scripted(), keep_s=0.1)) as fleet:
        await fleet.commands.give("pin", "a")
        await enter(fleet, "a")
        await asyncio.sleep(0.2)
        assert (status(fleet, "a").state, status(fleet, "a").is_pinned) == ("ready", True)
        await fleet.commands.give("unpin", "a")
        await until(lambda: status(fleet, "a").state == "cold")
        assert status(fleet, "a").unloads == {"idle": 1}


async def test_a_pinned_engine_is_unloaded_where_an_operator_says_so() -> None:
    async with running(model("a", scripted(), is_pinned=True)) as fleet:
        await enter(fleet, "a")
        await fleet.commands.give("unload", "a")
        await done(fleet, "a", "cold")
        assert status(fleet, "a").unloads == {"operator": 1}


async def test_the_last_use_is_told_also_of_an_engine_that_is_gone() -> None:
    async with running(model("a", scripted())) as fleet:
        assert status(fleet, "a").used_at is None
        await fleet.commands.give("load", "a")
        await done(fleet, "a", "ready")
        assert status(fleet, "a").used_at is None
        await enter(fleet, "a")
        used_at = status(fleet, "a").used_at
        await fleet.commands.give("unload", "a")
        await done(fleet, "a", "cold")
        assert used_at is not None
        assert status(fleet, "a").used_at == pytest.approx(used_at, abs=0.01)


@pytest.fixture
async def stopped() -> AsyncIterator[Fleet]:
    async with running(model("a", scripted())) as fleet:
        await fleet.stop()
        yield fleet


async def test_an_unknown_alias_and_a_fleet_that_stopped_are_errors(stopped: Fleet) -> None:
    with pytest.raises(KeyError):
        await stopped.commands.give("load", "b")
    with pytest.raises(EngineUnavailable, match="shutting down"):
        await stopped.commands.give("load", "a")
