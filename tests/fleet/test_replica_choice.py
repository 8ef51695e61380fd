"""Which of an alias' equal engines is asked: the one that knows the prefix, or else the idlest."""

from functools import partial

import pytest

from engines.base import EngineOverloaded
from engines.testing.scripted import ScriptedEngine
from tests.support.fleets import Workshop, model, running, scripted, until
from tests.support.replica_sets import all_ready, ready

pytestmark = pytest.mark.anyio


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
