"""An alias with several equal engines: they load, are told, change and end together."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from engines.base import EngineDead, EngineOverloaded, EngineUnavailable
from engines.fleet.device_memory import DeviceMemory, MemoryNeed
from engines.fleet.fleet import Fleet
from engines.fleet.node_memory import NodeMemory
from engines.fleet.status import EngineStatus
from engines.fleet.turns import TurnRules
from engines.registry.spec import EngineSpec, ModelSpec
from engines.testing.scripted import ScriptedEngine
from tests.support.fleets import PATIENT, Workshop, enter, model, running, say, scripted, until

pytestmark = pytest.mark.anyio


def cards(*sizes: int) -> dict[str, Any]:
    """A node of such cards, each engine taking 60 of one."""
    need = MemoryNeed(bytes_each=60)
    turns = TurnRules(settle_s=0.01, turn_s=0.05)
    return {"memory": NodeMemory(DeviceMemory(sizes), lambda spec: need), "turns": turns}


def of(fleet: Fleet, alias: str) -> list[EngineStatus]:
    return [status for status in fleet.statuses() if alias in status.aliases]


def ready(fleet: Fleet, alias: str) -> int:
    return sum(status.state == "ready" for status in of(fleet, alias))


async def all_ready(fleet: Fleet, alias: str, count: int) -> None:
    await until(lambda: ready(fleet, alias) == count)


async def stays(fleet: Fleet, condition: Callable[[], bool]) -> None:
    """Whatever the fleet decides next."""
    for _ in range(10):
        fleet.look_again()
        await asyncio.sleep(0.003)
        assert condition()


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


# Who gets a request


async def test_equal_loads_are_spread_and_a_prefix_stays_where_it_was() -> None:
    async with running(model("a", scripted(), preload=True, replicas=3)) as fleet:
        await all_ready(fleet, "a", 3)
        for prefix in range(3):
            prefixes = partial(tuple, [prefix])
            async with fleet.lease("a", prefixes=prefixes) as engine:
                first = engine
            for _ in range(5):
                async with fleet.lease("a", prefixes=prefixes) as engine:
                    assert engine is first
        async with fleet.lease("a") as one, fleet.lease("a") as two, fleet.lease("a") as three:
            assert len({id(one), id(two), id(three)}) == 3


async def test_a_warm_replica_that_is_much_busier_is_not_asked() -> None:
    async with running(model("a", scripted(), preload=True, replicas=2)) as fleet:
        await all_ready(fleet, "a", 2)
        leases = [fleet.lease("a", prefixes=lambda: (7,)) for _ in range(6)]
        engines = [await lease.__aenter__() for lease in leases]
        assert len({id(engine) for engine in engines[:5]}) == 1
        assert engines[5] is not engines[0]
        for lease in leases:
            await lease.__aexit__(None, None, None)


async def test_a_full_replica_lets_another_have_the_request() -> None:
    async with running(model("a", scripted(), preload=True, replicas=2)) as fleet:
        await all_ready(fleet, "a", 2)
        lease, asked = fleet.lease("a", prefixes=lambda: (7,)), []
        for is_another in (True, False):
            asked.append(await lease.__aenter__())
            full = EngineOverloaded("full")
            await lease.__aexit__(EngineOverloaded, full, None)
            assert lease.has_another is is_another
        assert asked[0] is not asked[1]


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


async def test_a_replica_that_was_restarted_knows_no_prefix() -> None:
    workshop = Workshop()
    async with running(model("a", scripted(), preload=True, replicas=2), build=workshop) as fleet:
        await all_ready(fleet, "a", 2)
        async with fleet.lease("a", prefixes=lambda: (7,)) as engine:
            assert isinstance(engine, ScriptedEngine)
            number = engine.spec.replica
            engine.kill()
        await until(lambda: len(workshop.built) == 3 and ready(fleet, "a") == 2)
        async with fleet.lease("a", prefixes=lambda: (7,)) as engine:
            assert isinstance(engine, ScriptedEngine)
            assert engine.spec.replica != number  # the one that was asked longest ago


# Together


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
