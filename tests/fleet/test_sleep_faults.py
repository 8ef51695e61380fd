"""A sleep or a wake that fails, hangs or ends in a death: no request is lost."""

import asyncio
from typing import Any

import pytest

from engines.testing.scripted import ScriptedEngine
from tests.support.fleets import Workshop, enter, running, status, until
from tests.support.sleepers import EVER, answer, asleep, node, sleeper

pytestmark = pytest.mark.anyio
SHORT: dict[str, Any] = {"base_s": 0.1}


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ({"fail_wake": "no memory"}, "did not wake: no memory"),
        ({"hang_wake": True}, "its wake took longer than 0.1 s"),
        ({"differs_after_wake": True}, "answers otherwise"),
    ],
)
async def test_a_wake_that_fails_is_a_restart_and_who_waits_is_served(
    fault: dict[str, Any], why: str, caplog: pytest.LogCaptureFixture
) -> None:
    workshop = Workshop()
    a = sleeper("a", **fault)
    async with running(a, build=workshop, **node(100, **SHORT)) as fleet:
        await enter(fleet, "a")
        await asleep(fleet, "a")
        assert await asyncio.wait_for(answer(fleet, "a"), 5) == "hei"
        assert len(workshop.built) == 2
        assert workshop.built[0]._dead
        assert status(fleet, "a").sleep.failed_wakes == 1
        assert status(fleet, "a").unloads == {"broken": 1}
    assert why in caplog.text


async def test_an_engine_whose_wakes_fail_is_stopped_instead_until_an_operator_says_so() -> None:
    workshop = Workshop()
    a = sleeper("a", fail_wake="no memory", keep_s=0.03)
    async with running(a, build=workshop, **node(100, stay=EVER)) as fleet:
        for _ in range(2):
            await enter(fleet, "a")
            await until(lambda: status(fleet, "a").state == "sleeping")
        await enter(fleet, "a")
        await until(lambda: status(fleet, "a").state == "cold")
        assert status(fleet, "a").sleep.sleeps == 2
        await enter(fleet, "a")
        await fleet.commands.give("sleep", "a")
        await until(lambda: status(fleet, "a").sleep.sleeps == 3)


@pytest.mark.parametrize("fault", [{"fail_sleep": "no pinned memory"}, {"hang_sleep": True}])
async def test_one_that_does_not_fall_asleep_is_stopped(fault: dict[str, Any]) -> None:
    workshop = Workshop()
    a = sleeper("a", **fault)
    async with running(a, build=workshop, **node(100, **SHORT)) as fleet:
        await enter(fleet, "a")
        await fleet.commands.give("sleep", "a")
        await until(lambda: status(fleet, "a").command is None)
        assert status(fleet, "a").state == "cold"
        assert "it did not fall asleep" in (status(fleet, "a").reason or "")
        assert (status(fleet, "a").sleep.failed_sleeps, workshop.built[0]._dead) == (1, True)
        await asyncio.wait_for(enter(fleet, "a"), 5)


async def test_one_that_dies_asleep_is_noticed_and_loaded_for_the_next_request() -> None:
    workshop = Workshop()
    async with running(sleeper("a"), build=workshop, **node(100)) as fleet:
        await enter(fleet, "a")
        await asleep(fleet, "a")
        workshop.built[0].kill()
        await until(lambda: status(fleet, "a").state == "cold")
        assert "died asleep" in (status(fleet, "a").reason or "")
        assert (len(workshop.built), status(fleet, "a").restarts) == (1, 0)
        await asyncio.wait_for(enter(fleet, "a"), 5)


async def test_one_that_dies_while_it_wakes_is_started_anew() -> None:
    workshop = Workshop()
    async with running(sleeper("a", wake_s=0.1), build=workshop, **node(100)) as fleet:
        await enter(fleet, "a")
        await asleep(fleet, "a")
        waits = asyncio.create_task(enter(fleet, "a"))
        await until(lambda: status(fleet, "a").state == "waking")
        workshop.built[0].kill()
        await asyncio.wait_for(waits, 5)
        assert len(workshop.built) == 2


class Counted(ScriptedEngine):
    checks = 0

    async def check(self, timeout_s: float) -> None:
        self.checks += 1
        await super().check(timeout_s)


async def test_a_sleeping_engine_is_watched_and_not_taken_for_dead() -> None:
    workshop = Workshop(Counted)
    async with running(sleeper("a"), build=workshop, **node(100)) as fleet:
        await enter(fleet, "a")
        await asleep(fleet, "a")
        [engine] = workshop.built
        assert isinstance(engine, Counted)
        before = engine.checks
        await until(lambda: engine.checks > before + 5)
        assert status(fleet, "a").state == "sleeping"


@pytest.mark.parametrize(
    ("fault", "state"),
    [({"hang_sleep": True}, "falling_asleep"), ({}, "sleeping"), ({"hang_wake": True}, "waking")],
)
async def test_a_fleet_stops_whatever_its_engines_do(fault: dict[str, Any], state: str) -> None:
    workshop = Workshop()
    async with running(sleeper("a", **fault), build=workshop, **node(100)) as fleet:
        await enter(fleet, "a")
        await fleet.commands.give("sleep", "a")
        waits = None
        if state != "falling_asleep":
            await until(lambda: status(fleet, "a").state == "sleeping")
        if state == "waking":
            waits = asyncio.create_task(enter(fleet, "a"))
        await until(lambda: status(fleet, "a").state == state)
        await asyncio.wait_for(fleet.stop(), 5)
        assert workshop.built[0]._dead
        if waits is not None:
            with pytest.raises(Exception, match="shutting down"):
                await waits
