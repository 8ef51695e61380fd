"""How long an engine stays and who may load it, as the registry says and as an operator does."""

import asyncio
from dataclasses import replace

import pytest

from engines.base import EngineNotLoaded
from engines.fleet.shared_engines import shared_engines
from engines.registry.spec import ModelSpec
from tests.support.fleets import Workshop, enter, model, running, scripted, status, until

pytestmark = pytest.mark.anyio


async def test_an_idle_engine_is_unloaded_at_the_end_of_its_time_and_loads_again() -> None:
    workshop = Workshop()
    async with running(model("a", scripted(), keep_s=0.05), build=workshop) as fleet:
        for loads in (1, 2):
            await enter(fleet, "a")
            await until(lambda: status(fleet, "a").state == "cold")
            assert len(workshop.built) == loads
        assert fleet.is_ready()


async def test_a_busy_engine_stays_and_its_time_begins_when_its_last_request_ends() -> None:
    async with running(model("a", scripted(), keep_s=0.05)) as fleet:
        async with fleet.lease("a"):
            await asyncio.sleep(0.15)
            assert status(fleet, "a").state == "ready"
        await until(lambda: status(fleet, "a").state == "cold")


async def test_an_engine_of_the_start_is_unloaded_too_and_the_server_stays_ready() -> None:
    async with running(model("a", scripted(), preload=True, keep_s=0.03)) as fleet:
        await until(lambda: status(fleet, "a").state == "ready")
        await until(lambda: status(fleet, "a").state == "cold")
        assert fleet.is_ready()
        await enter(fleet, "a")


def pinned(alias: str) -> ModelSpec:
    return model(alias, scripted(), is_pinned=True)


def kept(alias: str, keep_s: float | None) -> ModelSpec:
    return model(alias, scripted(), keep_s=keep_s)


@pytest.mark.parametrize(
    ("models", "is_pinned", "keep_s"),
    [
        ([kept("a", 5.0), kept("b", 9.0)], False, 9.0),
        ([kept("a", 5.0), kept("b", None)], False, None),
        ([kept("a", 5.0), pinned("b")], True, None),
        ([kept("a", 5.0)], False, 5.0),
        ([kept("a", None)], False, None),
    ],
)
def test_aliases_of_one_engine_keep_it_as_long_as_any_of_them(
    models: list[ModelSpec], is_pinned: bool, keep_s: float | None
) -> None:
    (managed,) = shared_engines(models).values()
    assert (managed.is_pinned, managed.keep_s) == (is_pinned, keep_s)


async def test_a_pinned_engine_is_not_unloaded_at_the_end_of_its_time() -> None:
    models = [replace(pinned("a"), keep_s=0.02), model("b", scripted("b"), keep_s=0.02)]
    async with running(*models) as fleet:
        await enter(fleet, "a")
        await enter(fleet, "b")
        await until(lambda: status(fleet, "b").state == "cold")
        assert status(fleet, "a").state == "ready"


async def test_what_is_never_loaded_by_a_request_is_refused_and_nothing_is_built() -> None:
    workshop = Workshop()
    async with running(model("a", scripted(), load="never"), build=workshop) as fleet:
        with pytest.raises(EngineNotLoaded, match="a is not loaded; only the server's operator"):
            await enter(fleet, "a")
        assert fleet.is_ready()
        assert (status(fleet, "a").waiting, workshop.built) == (0, [])


async def test_an_alias_that_is_never_loaded_is_refused_though_another_runs_its_engine() -> None:
    models = [model("a", scripted(), load="never"), model("b", scripted())]
    async with running(*models) as fleet, fleet.lease("b"):
        with pytest.raises(EngineNotLoaded):
            await enter(fleet, "a")
