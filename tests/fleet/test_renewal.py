"""A fleet whose models change while it runs: what is new appears, what is gone ends."""

import asyncio
from typing import Any, Literal

import pytest

from engines.base import EngineNotLoaded, EngineUnavailable
from engines.fleet.device_memory import DeviceMemory, MemoryNeed
from engines.fleet.fleet import Fleet
from engines.fleet.node_memory import NodeMemory
from engines.registry.spec import ModelSpec
from tests.support.fleets import Workshop, enter, model, running, say, scripted, status, until

pytestmark = pytest.mark.anyio

ONE_EACH: dict[str, Any] = {
    "memory": NodeMemory(DeviceMemory((100,)), lambda spec: MemoryNeed(bytes_each=60))
}


async def renew(fleet: Fleet, *models: ModelSpec) -> None:
    await fleet.renewal.renew(models, lambda: None)


def states(fleet: Fleet) -> list[tuple[tuple[str, ...], str]]:
    return [(s.aliases, s.state) for s in fleet.statuses()]


async def test_a_new_model_appears_and_one_of_the_start_loads() -> None:
    a, b, c = (model(alias, scripted(alias)) for alias in "abc")
    async with running(a) as fleet:
        b = model("b", scripted("b"), preload=True)
        await renew(fleet, a, b, c)
        assert not fleet.is_ready()
        await until(fleet.is_ready)
        assert states(fleet) == [(("a",), "cold"), (("b",), "ready"), (("c",), "cold")]
        await enter(fleet, "c")


async def test_what_is_taken_over_happens_in_the_same_moment() -> None:
    seen = []
    async with running(model("a", scripted())) as fleet:
        models = [model("a", scripted()), model("b", scripted("b"))]
        await fleet.renewal.renew(models, lambda: seen.append(status(fleet, "b").state))
    assert seen == ["cold"]


async def test_a_removed_model_ends_with_its_requests_and_takes_no_more() -> None:
    a, b = model("a", scripted("a")), model("b", scripted("b"))
    async with running(a, b) as fleet:
        async with fleet.lease("a") as engine:
            await renew(fleet, b)
            with pytest.raises(EngineUnavailable, match="Model a is served no more"):
                await enter(fleet, "a")
            assert "".join(d.text for d in await say(engine, "hei")) == "hei"
            assert states(fleet) == [(("b",), "cold"), ((), "ready")]
        await until(lambda: states(fleet) == [(("b",), "cold")])
        await enter(fleet, "b")


async def test_who_waits_for_a_removed_model_is_refused_at_once() -> None:
    a, b = model("a", scripted("a", load_s=30)), model("b", scripted("b"))
    async with running(a, b) as fleet:
        waits = asyncio.create_task(enter(fleet, "a"))
        await until(lambda: status(fleet, "a").state == "starting")
        await renew(fleet, b)
        fleet.outlook("a")
        with pytest.raises(EngineUnavailable, match="served no more"):
            await asyncio.wait_for(waits, 30)
        await until(lambda: states(fleet) == [(("b",), "cold")])


@pytest.mark.parametrize("options", [{}, ONE_EACH])
async def test_other_arguments_restart_that_engine_alone_and_cut_nobody(options: Any) -> None:
    workshop = Workshop()
    old, new = scripted("a"), scripted("a", token_delay_s=0.001)
    other = [] if options else [model("b", scripted("b"))]
    async with running(model("a", old), *other, build=workshop, **options) as fleet:
        for each in other:
            await enter(fleet, each.alias)
        async with fleet.lease("a") as engine:
            await renew(fleet, model("a", new), *other)
            late = asyncio.create_task(enter(fleet, "a"))
            await until(lambda: any(s.aliases == () for s in fleet.statuses()))
            assert "".join(d.text for d in await say(engine, "hei")) == "hei"
        await asyncio.wait_for(late, 30)
        async with fleet.lease("a") as engine:
            assert engine is workshop.built[-1]
            assert engine.spec.args == {"token_delay_s": 0.001}
        await until(lambda: len(fleet.statuses()) == 1 + len(other))
        assert len(workshop.built) == 2 + len(other)


async def test_a_restarted_engine_comes_back_without_a_request_and_a_cold_one_stays_cold() -> None:
    def models(delay_s: float) -> list[ModelSpec]:
        return [model(alias, scripted(alias, token_delay_s=delay_s)) for alias in "ab"]

    async with running(*models(0.001), **ONE_EACH) as fleet:
        await enter(fleet, "a")
        await renew(fleet, *models(0.002))
        await until(lambda: states(fleet) == [(("a",), "ready"), (("b",), "cold")])


async def test_who_waits_while_its_engine_changes_gets_the_new_one() -> None:
    workshop = Workshop()
    async with running(model("a", scripted("a", load_s=30)), build=workshop) as fleet:
        waits = asyncio.create_task(enter(fleet, "a"))
        await until(lambda: status(fleet, "a").state == "starting")
        await renew(fleet, model("a", scripted("a")))
        await asyncio.wait_for(waits, 30)


async def test_the_same_models_again_change_nothing() -> None:
    workshop = Workshop()
    models = [model("a", scripted("a"), keep_s=60.0), model("b", scripted("b"), load="never")]
    async with running(*models, build=workshop) as fleet:
        await enter(fleet, "a")
        await fleet.commands.give("pin", "a")
        await fleet.commands.give("load", "b")
        await enter(fleet, "b")
        for _ in range(3):
            await renew(fleet, *models)
        assert status(fleet, "a").is_pinned
        await enter(fleet, "b")
        assert len(workshop.built) == 2


async def test_the_registrys_other_words_hold_from_then_on() -> None:
    async with running(model("a", scripted(), is_pinned=True)) as fleet:
        await renew(fleet, model("a", scripted(), keep_s=9.0))
        assert (status(fleet, "a").is_pinned, status(fleet, "a").keep_s) == (False, 9.0)
        await renew(fleet, model("a", scripted(), load="never"))
        with pytest.raises(EngineNotLoaded):
            await enter(fleet, "a")
        await renew(fleet, model("a", scripted(), preload=True))
        await until(lambda: status(fleet, "a").state == "ready")


@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize("word", ["pin", "unpin"])
async def test_what_an_operator_said_of_a_pin_holds_also_on_another_engine(
    word: Literal["pin", "unpin"], replicas: int
) -> None:
    def registry(source: str, **said: Any) -> ModelSpec:
        said = {"is_pinned": word == "unpin", "replicas": replicas, **said}
        return model("a", scripted(source), **said)

    def pins() -> list[bool]:
        return [engine.is_pinned for engine in fleet.statuses()]

    async with running(registry("a")) as fleet:
        await enter(fleet, "a")
        await fleet.commands.give(word, "a")
        await renew(fleet, registry("a", keep_s=9.0))
        assert pins() == [word == "pin"] * replicas
        await renew(fleet, registry("other"))
        await until(lambda: states(fleet) == [(("a",), "ready")] * replicas)
        assert pins() == [word == "pin"] * replicas
        await renew(fleet, registry("third", is_pinned=word == "pin"))
        await renew(fleet, registry("third"))
        await until(lambda: states(fleet) == [(("a",), "ready")] * replicas)
        assert pins() == [word == "unpin"] * replicas, "the registry has said otherwise since"


async def test_what_an_operator_opened_stays_open_on_another_engine() -> None:
    async with running(model("a", scripted("a"), load="never")) as fleet:
        await fleet.commands.give("load", "a")
        await renew(fleet, model("a", scripted("other"), load="never"))
        await enter(fleet, "a")


@pytest.mark.parametrize("is_busy", [False, True])
async def test_an_engine_that_comes_back_is_as_the_registry_says(is_busy: bool) -> None:
    """Also where it has not ended yet."""
    first = model("a", scripted("first"), is_pinned=True)
    second = model("a", scripted("second"))
    workshop = Workshop()
    async with running(first, build=workshop) as fleet:
        async with fleet.lease("a"):
            await renew(fleet, second)
            if is_busy:
                await renew(fleet, first)
        if not is_busy:
            await until(lambda: states(fleet) == [(("a",), "ready")])
            await renew(fleet, first)
        await until(lambda: states(fleet) == [(("a",), "ready")])
        assert status(fleet, "a").is_pinned
        assert fleet.is_ready()
        async with fleet.lease("a") as engine:
            assert engine is [e for e in workshop.built if e.spec.source == "first"][-1]
        assert sum(e.spec.source == "first" for e in workshop.built) == (1 if is_busy else 2)


async def test_an_alias_moves_to_another_engine_and_back() -> None:
    one, two = scripted("one"), scripted("two")
    async with running(model("a", one), model("b", two)) as fleet:
        await enter(fleet, "a")
        await renew(fleet, model("a", two), model("b", two))
        await enter(fleet, "a")
        assert status(fleet, "a").aliases == ("a", "b")
        await renew(fleet, model("a", one), model("b", two))
        await enter(fleet, "a")
        assert status(fleet, "a").aliases == ("a",)
