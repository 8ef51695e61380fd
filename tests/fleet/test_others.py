"""Engines that need more than this machine: while they wait they hold no memory."""

import asyncio
from typing import Any

import pytest

from engines.base import Engine, EngineUnavailable
from engines.fleet.start_limit import StartLimit
from engines.registry.spec import EngineSpec
from engines.testing.scripted import ScriptedEngine
from tests.fleet.test_fleet_turns import ONE_EACH
from tests.support.fleets import PATIENT, enter, model, running, scripted, status, until

pytestmark = pytest.mark.anyio


class Waiting(ScriptedEngine):
    """Until somebody `came`; then it may be `refused`."""

    def __init__(self, spec: EngineSpec) -> None:
        super().__init__(spec)
        self.came = asyncio.Event()
        self.waits_for: str | None = None
        self.refused = self.ended = False

    async def others_here(self) -> None:
        self.waits_for = "waits for 1 more node"
        try:
            await self.came.wait()
        finally:
            self.ended = True
        self.waits_for = None
        if self.refused:
            raise EngineUnavailable("gpu-2 has another vLLM")


class Builder:
    def __init__(self) -> None:
        self.waiting: list[Waiting] = []

    def __call__(self, spec: EngineSpec) -> Engine:
        if spec.source != "both":
            return ScriptedEngine(spec)
        self.waiting.append(Waiting(spec))
        return self.waiting[-1]


MODELS = (model("both", scripted("both"), preload=True), model("one", scripted("one")))


async def test_it_waits_without_memory_and_others_start_and_serve() -> None:
    """On a machine with room for one engine, or of which nothing is known."""
    room: Any
    for room in (ONE_EACH, {}):
        build = Builder()
        async with running(*MODELS, build=build, **room) as fleet:
            await until(lambda: status(fleet, "both").waits_for == "waits for 1 more node")
            found = status(fleet, "both")
            assert (found.state, found.devices) == ("fetching", ())
            await asyncio.wait_for(enter(fleet, "one"), 10)
            assert status(fleet, "one").state == "ready"
            build.waiting[0].came.set()
            await asyncio.wait_for(enter(fleet, "both"), 10)
            assert status(fleet, "both").waits_for is None


async def test_a_wait_has_its_time_and_one_that_is_refused_says_why() -> None:
    build = Builder()
    limit = StartLimit(base_s=0.05)
    async with running(*MODELS, build=build, start_limit=limit, backoff=PATIENT) as fleet:
        await until(lambda: status(fleet, "both").state == "failed")
        assert status(fleet, "both").reason == (
            "its wait for others took longer than 0.05 s: it waits for 1 more node"
        )
        assert build.waiting[0].ended
    build = Builder()
    async with running(*MODELS, build=build, backoff=PATIENT) as fleet:
        await until(lambda: bool(build.waiting))
        build.waiting[0].refused = True
        build.waiting[0].came.set()
        await until(lambda: status(fleet, "both").state == "failed")
        assert status(fleet, "both").reason == "gpu-2 has another vLLM"


async def test_an_operator_or_the_end_of_all_ends_a_wait() -> None:
    build = Builder()
    async with running(*MODELS, build=build) as fleet:
        await until(lambda: status(fleet, "both").waits_for is not None)
        await fleet.commands.give("unload", "both")
        await until(lambda: status(fleet, "both").state == "cold")
        assert build.waiting[0].ended
        await fleet.commands.give("load", "both")
        await until(lambda: len(build.waiting) == 2 and not build.waiting[1].ended)
    assert build.waiting[1].ended
