"""The fleet when an engine breaks, and when the fleet itself stops."""

import asyncio
import time

import pytest

from engines.base import Engine, EngineDead, EngineUnavailable
from engines.fleet.backoff import Backoff
from engines.fleet.fleet import Fleet
from engines.registry.spec import EngineSpec
from engines.testing.scripted import ScriptedEngine
from tests.support.fleets import Workshop, enter, model, running, say, scripted, status, until

pytestmark = pytest.mark.anyio


def broken(fleet: Fleet) -> bool:
    return any(s.restarts for s in fleet.statuses())


# Death


async def test_a_dead_engine_is_replaced_without_a_request() -> None:
    workshop = Workshop()
    async with running(model("a", scripted()), build=workshop) as fleet:
        await enter(fleet, "a")
        workshop.built[0].kill()
        await until(lambda: len(workshop.built) == 2 and status(fleet, "a").state == "ready")
        assert status(fleet, "a").restarts == 1


async def test_a_request_that_sees_its_engine_die_starts_the_replacement_at_once() -> None:
    workshop = Workshop()
    models = model("a", scripted(text="a b c", die_after_tokens=2))
    async with running(models, build=workshop, check_interval_s=3600) as fleet:
        with pytest.raises(EngineDead):
            async with fleet.lease("a") as engine:
                await say(engine, "")
        async with fleet.lease("a") as engine:
            assert engine is workshop.built[1]
        assert status(fleet, "a").leases == 0


async def test_a_hung_engine_is_replaced_and_requests_wait_for_the_new_one() -> None:
    workshop = Workshop()
    models = model("a", scripted(text="a b c", hang_after_tokens=2))
    async with running(models, build=workshop) as fleet:
        with pytest.raises(EngineDead):  # stopping a hung engine ends its streams
            async with fleet.lease("a") as engine:
                await say(engine, "")
        async with fleet.lease("a") as engine:
            assert engine is workshop.built[1]


async def test_a_lease_that_outlives_its_engine_is_not_counted_on_the_next() -> None:
    workshop = Workshop()
    async with running(model("a", scripted()), build=workshop) as fleet:
        async with fleet.lease("a"):
            workshop.built[0].kill()
            await until(lambda: len(workshop.built) == 2 and status(fleet, "a").state == "ready")
            assert status(fleet, "a").leases == 0
            async with fleet.lease("a"):
                assert status(fleet, "a").leases == 1
        assert status(fleet, "a").leases == 0


async def test_an_engine_that_dies_again_and_again_is_left_alone_for_longer_and_longer() -> None:
    class Stillborn(ScriptedEngine):
        async def check(self, timeout_s: float) -> None:
            raise EngineDead("killed by the kernel")

    workshop = Workshop(Stillborn)
    backoff = Backoff(first_s=0.02, factor=100.0, longest_s=60.0)
    async with running(model("a", scripted(), preload=True), build=workshop, backoff=backoff) as f:
        await until(lambda: status(f, "a").restarts == 2 and status(f, "a").state == "cold")
        assert len(workshop.built) == 2
        assert status(f, "a").reason == "killed by the kernel"


# The end


@pytest.mark.alone
async def test_stop_ends_every_engine_and_refuses_who_waits() -> None:
    workshop = Workshop()
    models = [model("a", scripted()), model("slow", scripted("slow", load_s=60))]
    async with running(*models, build=workshop) as fleet:
        await enter(fleet, "a")
        waiting = asyncio.create_task(enter(fleet, "slow"))
        await until(lambda: status(fleet, "slow").state == "starting" and len(workshop.built) == 2)
        began = time.monotonic()
        await fleet.stop()
        assert time.monotonic() - began < 1
        with pytest.raises(EngineUnavailable, match="shutting down"):
            await waiting
        with pytest.raises(EngineUnavailable, match="shutting down"):
            await enter(fleet, "a")
        for engine in workshop.built:
            with pytest.raises(EngineDead):
                await engine.check(1)
        assert not fleet.is_ready()


async def test_stop_does_not_wait_for_a_build_that_takes_long() -> None:
    async def fetch(spec: EngineSpec) -> Engine:
        await asyncio.sleep(60)
        return ScriptedEngine(spec)

    async with running(model("a", scripted(), preload=True), build=fetch) as fleet:
        await until(lambda: status(fleet, "a").state == "fetching")
        async with asyncio.timeout(20):
            await fleet.stop()


async def test_stop_gives_up_on_an_engine_that_does_not_end() -> None:
    class Stubborn(ScriptedEngine):
        async def stop(self) -> None:
            await asyncio.sleep(60)

    async with running(
        model("a", scripted(), preload=True), build=Workshop(Stubborn), stop_timeout_s=0.05
    ) as fleet:
        await until(fleet.is_ready)
        async with asyncio.timeout(20):
            await fleet.stop()


async def test_a_stop_during_a_replacement_still_stops_the_old_engine() -> None:
    stopped = []

    class Slow(ScriptedEngine):
        async def stop(self) -> None:
            await asyncio.sleep(0.05)
            stopped.append(self)

    workshop = Workshop(Slow)
    async with running(model("a", scripted(), preload=True), build=workshop) as fleet:
        await until(fleet.is_ready)
        workshop.built[0].kill()
        await until(lambda: status(fleet, "a").state == "stopping" and broken(fleet))
    assert stopped == [workshop.built[0]]
