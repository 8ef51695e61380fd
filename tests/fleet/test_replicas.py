"""An alias with several equal engines: they load, die and come back, and any ready one serves."""

import asyncio

import pytest

from engines.base import EngineDead, EngineUnavailable
from engines.registry.spec import EngineSpec
from engines.testing.scripted import ScriptedEngine
from tests.support.fleets import PATIENT, Workshop, enter, model, running, scripted, until
from tests.support.replica_sets import all_ready, cards, of, ready, stays

pytestmark = pytest.mark.anyio


class Held(ScriptedEngine):
    """Its start waits for the test, but for the first replica's."""

    may_start = asyncio.Event()

    async def start(self) -> None:
        if self.spec.replica:
            await Held.may_start.wait()


@pytest.fixture(autouse=True)
def held() -> None:
    Held.may_start = asyncio.Event()


# Loading


async def test_each_replica_is_an_engine_of_its_own_and_the_alias_is_ready_with_one() -> None:
    workshop = Workshop(Held)
    async with running(model("a", scripted(), preload=True, replicas=3), build=workshop) as fleet:
        await until(fleet.is_ready)
        assert (ready(fleet, "a"), len(of(fleet, "a"))) == (1, 3)
        assert fleet.outlook("a").state == "ready"
        await enter(fleet, "a")
        Held.may_start.set()
        await all_ready(fleet, "a", 3)
        assert len({id(engine) for engine in workshop.built}) == 3
        keys = [status.key for status in of(fleet, "a")]
        assert keys == [keys[0], f"{keys[0]}#2", f"{keys[0]}#3"]


async def test_one_alone_has_the_key_it_always_had() -> None:
    async with running(model("a", scripted())) as fleet:
        assert [status.key for status in of(fleet, "a")] == [scripted().key]


async def test_the_first_request_loads_all_and_waits_for_one() -> None:
    workshop = Workshop(Held)
    async with running(model("a", scripted(), replicas=2), build=workshop) as fleet:
        assert fleet.is_ready()
        await asyncio.wait_for(enter(fleet, "a"), 5)
        assert ready(fleet, "a") == 1
        Held.may_start.set()
        await all_ready(fleet, "a", 2)


async def test_weights_are_fetched_once_and_only_then_do_the_others_come() -> None:
    arrived, asked = asyncio.Event(), []

    async def build(spec: EngineSpec) -> ScriptedEngine:
        asked.append(spec.replica)
        await arrived.wait()
        return ScriptedEngine(spec)

    async with running(model("a", scripted(), preload=True, replicas=4), build=build) as fleet:
        await until(lambda: bool(asked))
        await stays(fleet, lambda: asked == [0])
        arrived.set()
        await all_ready(fleet, "a", 4)
        assert sorted(asked) == [0, 1, 2, 3]


async def test_replicas_load_one_at_a_time_on_a_card_and_side_by_side_on_several() -> None:
    class Loading(ScriptedEngine):
        now = most = 0

        async def start(self) -> None:
            Loading.now += 1
            Loading.most = max(Loading.most, Loading.now)
            await asyncio.sleep(0.03)
            Loading.now -= 1

    for sizes, most in (((240,), 1), ((60, 60, 60), 3)):
        Loading.now = Loading.most = 0
        options = cards(*sizes)
        models = model("a", scripted(), preload=True, replicas=3)
        async with running(models, build=Workshop(Loading), **options) as fleet:
            await all_ready(fleet, "a", 3)
            assert Loading.most == most
            assert len({status.devices for status in of(fleet, "a")}) == len(sizes)


async def test_where_not_all_have_room_those_that_do_serve_and_nobody_is_made_to_leave() -> None:
    models = [model("a", scripted("a"), replicas=3), model("b", scripted("b"))]
    workshop = Workshop()
    async with running(*models, build=workshop, **cards(60, 60)) as fleet:
        await enter(fleet, "b")
        await enter(fleet, "a")
        await stays(fleet, lambda: (ready(fleet, "a"), ready(fleet, "b")) == (1, 1))
        assert len(workshop.built) == 2
        await fleet.commands.give("unload", "b")
        await all_ready(fleet, "a", 2)
        await stays(fleet, lambda: ready(fleet, "a") == 2)


async def test_a_replica_makes_room_for_who_waits_while_the_other_one_serves_on() -> None:
    models = [model("a", scripted("a"), replicas=2), model("b", scripted("b"))]
    async with running(*models, **cards(60, 60)) as fleet:
        await enter(fleet, "a")
        await all_ready(fleet, "a", 2)
        async with fleet.lease("a"):
            await asyncio.wait_for(enter(fleet, "b"), 5)
            assert (ready(fleet, "a"), ready(fleet, "b")) == (1, 1)
        await stays(fleet, lambda: (ready(fleet, "a"), ready(fleet, "b")) == (1, 1))


async def test_another_model_preloaded_comes_before_a_second_replica() -> None:
    models = [
        model("a", scripted("a"), preload=True, replicas=2),
        model("b", scripted("b"), preload=True),
    ]
    async with running(*models, **cards(60, 60)) as fleet:
        await until(lambda: (ready(fleet, "a"), ready(fleet, "b")) == (1, 1))
        assert fleet.is_ready()


async def test_where_the_first_cannot_start_another_one_serves() -> None:
    class OneBroken(ScriptedEngine):
        async def start(self) -> None:
            if not self.spec.replica:
                raise EngineUnavailable("its card is broken")

    models = model("a", scripted(), replicas=2)
    async with running(models, build=Workshop(OneBroken), backoff=PATIENT) as fleet:
        await asyncio.wait_for(enter(fleet, "a"), 5)
        assert [status.state for status in of(fleet, "a")] == ["failed", "ready"]
        assert fleet.outlook("a").state == "ready"


async def test_a_request_is_refused_once_none_can_start() -> None:
    workshop = Workshop()
    models = model("a", scripted(fail_load="no"), replicas=3)
    async with running(models, build=workshop, backoff=PATIENT) as fleet:
        for _ in range(2):
            with pytest.raises(EngineUnavailable, match="Model a cannot be loaded now"):
                await asyncio.wait_for(enter(fleet, "a"), 5)
        assert len(workshop.built) == 3


# Death


async def test_a_dead_replica_is_replaced_and_the_other_serves_meanwhile() -> None:
    workshop = Workshop(Held)
    async with running(model("a", scripted(), preload=True, replicas=2), build=workshop) as fleet:
        Held.may_start.set()
        await all_ready(fleet, "a", 2)
        Held.may_start.clear()
        second = next(engine for engine in workshop.built if engine.spec.replica)
        async with fleet.lease("a"):
            lease = fleet.lease("a")
            assert await lease.__aenter__() is second
            second.kill()
            await lease.__aexit__(EngineDead, EngineDead("killed"), None)
        for _ in range(4):
            async with fleet.lease("a", prefixes=lambda: (1,)) as engine:
                assert engine is not second
        assert fleet.is_ready()
        Held.may_start.set()
        await all_ready(fleet, "a", 2)
        assert [status.restarts for status in of(fleet, "a")] == [0, 1]


async def test_all_replicas_come_back_by_themselves_where_all_died() -> None:
    workshop = Workshop()
    async with running(model("a", scripted(), replicas=2), build=workshop) as fleet:
        await enter(fleet, "a")
        await all_ready(fleet, "a", 2)
        for engine in workshop.built[:2]:
            engine.kill()
        await until(lambda: len(workshop.built) == 4 and ready(fleet, "a") == 2)
