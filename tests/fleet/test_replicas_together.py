"""An alias' equal engines are told, change their number and end together."""

import asyncio

import pytest

from engines.base import EngineUnavailable
from engines.fleet.fleet import Fleet
from engines.registry.spec import ModelSpec
from engines.testing.scripted import ScriptedEngine
from tests.support.fleets import Workshop, enter, model, running, say, scripted, until
from tests.support.replica_sets import all_ready, cards, of, ready, stays

pytestmark = pytest.mark.anyio


async def test_unload_ends_all_and_the_next_request_loads_all() -> None:
    async with running(model("a", scripted(), preload=True, replicas=3)) as fleet:
        await all_ready(fleet, "a", 3)
        async with fleet.lease("a"):
            await fleet.commands.give("unload", "a")
            await all_ready(fleet, "a", 1)
            await stays(fleet, lambda: ready(fleet, "a") == 1)
        await until(lambda: {s.state for s in of(fleet, "a")} == {"cold"})
        await stays(fleet, lambda: {s.state for s in of(fleet, "a")} == {"cold"})
        assert fleet.is_ready()
        await fleet.commands.give("load", "a")
        await all_ready(fleet, "a", 3)
        assert not any(status.command for status in of(fleet, "a"))


async def test_after_an_unload_a_request_waits_for_no_stream_of_another_replica() -> None:
    """The busy one ends with its stream, which may take its time; the others can load at once."""
    spec = model("a", scripted(), replicas=2)
    async with running(spec) as fleet:
        await enter(fleet, "a")
        await all_ready(fleet, "a", 2)
        async with fleet.lease("a") as busy:
            await fleet.commands.give("unload", "a")
            await all_ready(fleet, "a", 1)
            async with asyncio.timeout(5), fleet.lease("a") as engine:
                assert engine is not busy
        await until(lambda: [status.loads for status in of(fleet, "a")] == [2, 2])
        assert not any(status.command for status in of(fleet, "a"))


async def test_a_pin_holds_all_of_them_and_keeps_none_of_them_out() -> None:
    models = [model("a", scripted("a"), replicas=2), model("b", scripted("b"))]
    async with running(*models, **cards(60, 60)) as fleet:
        await fleet.commands.give("pin", "a")
        await enter(fleet, "a")
        await all_ready(fleet, "a", 2)
        with pytest.raises(EngineUnavailable, match="has no room"):
            await enter(fleet, "b")
        await fleet.commands.give("unpin", "a")
        await asyncio.wait_for(enter(fleet, "b"), 5)
        assert (ready(fleet, "a"), ready(fleet, "b")) == (1, 1)


async def test_an_idle_replica_stays_while_another_is_used_and_all_end_when_none_is() -> None:
    async with running(model("a", scripted(), replicas=2, keep_s=0.1)) as fleet:
        async with fleet.lease("a"):
            await all_ready(fleet, "a", 2)
            await asyncio.sleep(0.3)
            assert ready(fleet, "a") == 2
        await until(lambda: {s.state for s in of(fleet, "a")} == {"cold"})
        assert [status.unloads for status in of(fleet, "a")] == [{"idle": 1}] * 2
        await stays(fleet, lambda: ready(fleet, "a") == 0)


async def test_a_preloaded_set_that_was_never_whole_stays_away_once_it_is_unloaded() -> None:
    """Its second replica never had room, and is not loaded in the first one's place."""
    models = model("a", scripted("a"), preload=True, replicas=2, keep_s=0.05)
    async with running(models, **cards(60)) as fleet:
        await until(lambda: of(fleet, "a")[0].state == "ready")
        await until(lambda: of(fleet, "a")[0].state == "cold")
        await stays(fleet, lambda: ready(fleet, "a") == 0)


# Another number


async def renew(fleet: Fleet, *models: ModelSpec) -> None:
    await fleet.renewal.renew(models, lambda: None)


async def test_more_replicas_are_added_and_fewer_drained_and_nothing_else_is_touched() -> None:
    def many(count: int) -> ModelSpec:
        return model("a", scripted(), preload=True, replicas=count)

    workshop = Workshop()
    async with running(many(2), build=workshop) as fleet:
        await all_ready(fleet, "a", 2)
        await fleet.commands.give("pin", "a")
        await renew(fleet, many(4))
        await all_ready(fleet, "a", 4)
        assert len(workshop.built) == 4
        assert all(s.is_pinned for s in of(fleet, "a"))
        assert not any(s.command for s in of(fleet, "a"))
        leases = [fleet.lease("a") for _ in range(4)]
        engines = [await lease.__aenter__() for lease in leases]
        await renew(fleet, many(1))
        assert len(of(fleet, "a")) == 1
        for engine in engines:  # those that are drained end what they have
            assert "".join(d.text for d in await say(engine, "hei")) == "hei"
        async with fleet.lease("a") as engine:
            assert isinstance(engine, ScriptedEngine)
            assert engine.spec.replica == 0
        for lease in leases:
            await lease.__aexit__(None, None, None)
        await until(lambda: len(fleet.statuses()) == 1)
        assert (len(workshop.built), ready(fleet, "a")) == (4, 1)


async def test_other_arguments_replace_all_replicas_and_who_waits_gets_a_new_one() -> None:
    workshop = Workshop()
    old, new = scripted("a"), scripted("a", token_delay_s=0.001)
    async with running(model("a", old, replicas=2), build=workshop) as fleet:
        await enter(fleet, "a")
        await all_ready(fleet, "a", 2)
        await renew(fleet, model("a", new, replicas=2))
        await asyncio.wait_for(enter(fleet, "a"), 5)
        await until(lambda: len(fleet.statuses()) == 2)
        await all_ready(fleet, "a", 2)
        assert [e.spec.args for e in workshop.built[2:]] == [{"token_delay_s": 0.001}] * 2


async def test_aliases_that_share_an_engine_have_the_most_replicas_of_any() -> None:
    models = [model("a", scripted(), replicas=3), model("b", scripted())]
    async with running(*models) as fleet:
        await enter(fleet, "b")
        await all_ready(fleet, "b", 3)
        assert [s.key for s in of(fleet, "a")] == [s.key for s in of(fleet, "b")]
