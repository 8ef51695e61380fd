"""Fleets of scripted engines for tests: built, running, asked, looked at."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from engines.base import Delta, Engine, GenerateRequest, Sampling
from engines.fleet.backoff import Backoff
from engines.fleet.fleet import Fleet
from engines.fleet.status import EngineStatus
from engines.registry.spec import EngineSpec, ModelSpec
from engines.testing.scripted import ScriptedEngine

QUICK = Backoff(first_s=0.01, longest_s=0.05)
PATIENT = Backoff(first_s=60.0)


def scripted(name: str = "echo", **args: Any) -> EngineSpec:
    return EngineSpec(kind="scripted", source=name, args=args)


def model(alias: str, engine: EngineSpec, preload: bool = False, **facts: Any) -> ModelSpec:
    facts = {"load": "start" if preload else "demand", **facts}
    return ModelSpec(alias=alias, engine=engine, context_tokens=4096, output_tokens=512, **facts)


class Workshop:
    """Builds scripted engines and keeps them, so that a test can kill one."""

    def __init__(self, make: Callable[[EngineSpec], ScriptedEngine] = ScriptedEngine) -> None:
        self.make = make
        self.built: list[ScriptedEngine] = []

    async def __call__(self, spec: EngineSpec) -> Engine:
        engine = self.make(spec)
        self.built.append(engine)
        return engine


@asynccontextmanager
async def running(*models: ModelSpec, build: Any = None, **options: Any) -> AsyncIterator[Fleet]:
    options = {"check_interval_s": 0.01, "backoff": QUICK, **options}
    fleet = Fleet(models, build or Workshop(), **options)
    await fleet.start()
    try:
        yield fleet
    finally:
        await fleet.stop()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - the fleet promises states, not events
            await asyncio.sleep(0.002)


def status(fleet: Fleet, alias: str) -> EngineStatus:
    return next(s for s in fleet.statuses() if alias in s.aliases)


async def say(engine: Engine, text: str) -> list[Delta]:
    request = GenerateRequest(request_id="r", sampling=Sampling(max_tokens=64), prompt=text)
    return [delta async for delta in engine.generate(request, await engine.render(request))]


async def enter(fleet: Fleet, alias: str) -> None:
    async with fleet.lease(alias):
        pass
