"""A fleet whose engines do not fit beside each other: they leave for one another, and nobody's
request is lost."""

import asyncio
import contextlib
import random
from typing import Any

import pytest

from engines.base import Engine, EngineDead, EngineNeverFits
from engines.fleet.device_memory import DeviceMemory, MemoryNeed
from engines.fleet.node_memory import NodeMemory
from engines.fleet.turns import TurnRules
from engines.registry.spec import EngineSpec
from engines.testing.scripted import ScriptedEngine
from tests.support.fleets import enter, model, running, scripted, status, until

pytestmark = pytest.mark.anyio

SHORT = TurnRules(settle_s=0.02, turn_s=0.1)


def sharing(*cards: int, each: int = 60, **options: Any) -> dict[str, Any]:
    """Cards of so many bytes, and engines that take `each` of one."""

    def need(spec: EngineSpec) -> MemoryNeed:
        return MemoryNeed(bytes_each=each)

    return {"memory": NodeMemory(DeviceMemory(cards), need, **options), "turns": SHORT}


ONE_EACH = sharing(100)


class Memory:
    """Builds engines and fails where more of them run than the room holds."""

    def __init__(self, most: int) -> None:
        self.most, self.running, self.starts = most, 0, 0
        self.built: list[ScriptedEngine] = []

    def __call__(self, spec: EngineSpec) -> Engine:
        memory = self

        class Counted(ScriptedEngine):
            is_up = False

            async def start(self) -> None:
                memory.running += 1
                memory.starts += 1
                self.is_up = True
                assert memory.running <= memory.most
                await super().start()

            async def stop(self) -> None:
                await super().stop()
                memory.running -= self.is_up
                self.is_up = False

        self.built.append(Counted(spec))
        return self.built[-1]


async def test_an_idle_engine_leaves_for_one_that_is_asked_for() -> None:
    memory = Memory(1)
    models = [model("a", scripted("a")), model("b", scripted("b"))]
    async with running(*models, build=memory, **ONE_EACH) as fleet:
        for alias in ("a", "b", "a"):
            await asyncio.wait_for(enter(fleet, alias), 30)
        assert memory.starts == 3
        assert status(fleet, "b").state == "cold"
        assert status(fleet, "b").restarts == 0


async def test_a_busy_engine_ends_what_it_has_and_takes_no_more_once_its_turn_is_over() -> None:
    models = [model("a", scripted("a")), model("b", scripted("b"))]
    async with running(*models, build=Memory(1), **ONE_EACH) as fleet:
        async with fleet.lease("a"):
            other = asyncio.create_task(enter(fleet, "b"))
            await until(lambda: fleet._by_alias["a"].leaving is not None)
            late = asyncio.create_task(enter(fleet, "a"))
            await until(lambda: status(fleet, "a").waiting == 1)
            assert status(fleet, "a").leases == 1
            assert not other.done()
        await asyncio.wait_for(other, 30)
        await asyncio.wait_for(late, 30)


async def test_an_engine_that_should_leave_stays_where_nobody_waits_any_more() -> None:
    memory = Memory(1)
    models = [model("a", scripted("a")), model("b", scripted("b"))]
    async with running(*models, build=memory, **ONE_EACH) as fleet:
        async with fleet.lease("a"):
            other = asyncio.create_task(enter(fleet, "b"))
            await until(lambda: fleet._by_alias["a"].leaving is not None)
            late = asyncio.create_task(enter(fleet, "a"))
            await until(lambda: status(fleet, "a").waiting == 1)
            other.cancel()
            await asyncio.wait_for(late, 30)
        assert memory.starts == 1


async def test_an_engine_is_told_which_devices_it_stands_on() -> None:
    told: dict[str, tuple[tuple[int, ...], float]] = {}

    class Placed(ScriptedEngine):
        def assign(self, cards: tuple[int, ...], part: float) -> None:
            told[self.spec.source] = cards, part

    models = [model("a", scripted("a")), model("b", scripted("b"))]
    async with running(*models, build=Placed, **sharing(100, 100)) as fleet, fleet.lease("a"):
        await asyncio.wait_for(enter(fleet, "b"), 30)
    assert told == {"a": ((0,), 0.6), "b": ((1,), 0.6)}


async def test_what_can_never_fit_is_refused_at_once_and_never_built() -> None:
    memory = Memory(1)
    room = sharing(100, each=101)
    async with running(model("a", scripted("a")), build=memory, **room) as fleet:
        for _ in range(2):
            with pytest.raises(EngineNeverFits, match="can never be loaded here: it takes"):
                await asyncio.wait_for(enter(fleet, "a"), 30)
        assert status(fleet, "a").state == "failed"
        assert memory.built == []


async def test_preloads_that_do_not_fit_together_leave_the_server_ready() -> None:
    models = [model("a", scripted("a"), preload=True), model("b", scripted("b"), preload=True)]
    async with running(*models, build=Memory(1), **ONE_EACH) as fleet:
        await until(lambda: status(fleet, "a").state == "ready")
        await until(fleet.is_ready)
        await asyncio.wait_for(enter(fleet, "b"), 30)
        assert fleet.is_ready()
        assert status(fleet, "a").state == "cold"


async def test_a_preload_without_room_is_built_anew_before_it_starts() -> None:
    memory, may_build = Memory(1), asyncio.Event()
    may_build.set()

    async def build(spec: EngineSpec) -> Engine:
        await may_build.wait()
        return memory(spec)

    models = [model("a", scripted("a"), preload=True), model("b", scripted("b"), preload=True)]
    async with running(*models, build=build, **ONE_EACH) as fleet:
        await until(lambda: fleet.is_ready() and status(fleet, "b").state == "cold")
        may_build.clear()
        asked = asyncio.create_task(enter(fleet, "b"))
        await until(lambda: status(fleet, "b").state == "fetching")
        for _ in range(3):
            fleet.look_again()
            await until(fleet._inbox.empty)
            await asyncio.sleep(SHORT.settle_s)  # by now the other one may make room
        assert status(fleet, "b").state == "fetching"
        may_build.set()
        await asyncio.wait_for(asked, 30)


async def test_a_broken_engine_comes_back_though_others_wait_for_its_memory() -> None:
    memory = Memory(1)
    models = [model("a", scripted("a")), model("b", scripted("b"))]
    async with running(*models, build=memory, **ONE_EACH) as fleet:
        with contextlib.suppress(EngineDead):
            async with fleet.lease("a"):
                waits = [asyncio.create_task(enter(fleet, alias)) for alias in ("b", "a")]
                await until(lambda: status(fleet, "b").waiting == 1)
                raise EngineDead("killed")
        await asyncio.wait_for(asyncio.gather(*waits), 30)


async def test_four_models_in_memory_for_two_lose_no_request() -> None:
    """Requests of all, at random times, while engines die under them."""
    memory, drawn = Memory(2), random.Random(1)
    aliases = "abcd"
    ended: list[str] = []

    async def ask(alias: str) -> None:
        await asyncio.sleep(drawn.uniform(0, 1.5))
        try:
            async with fleet.lease(alias):
                await asyncio.sleep(drawn.uniform(0, 0.05))
                if drawn.random() < 0.03:
                    raise EngineDead("killed")
        except EngineDead:
            pass
        ended.append(alias)

    room = sharing(100, 100)
    models = [model(alias, scripted(alias)) for alias in aliases]
    async with running(*models, build=memory, **room) as fleet:
        asked = [alias for alias in aliases for _ in range(60)]
        await asyncio.wait_for(asyncio.gather(*map(ask, asked)), 30)
    assert sorted(ended) == asked
    assert memory.running == 0
    assert memory.starts > len(aliases)


async def test_a_killed_engines_memory_is_waited_for_before_the_next_one_starts() -> None:
    free = [[40], [58], [59]]
    seen: list[int] = []

    def free_bytes() -> list[int]:
        seen.append(free[0][0])
        return free.pop(0) if len(free) > 1 else free[0]

    room = sharing(100, free_bytes=free_bytes)
    async with running(model("a", scripted("a")), **room) as fleet:
        await asyncio.wait_for(enter(fleet, "a"), 10)
    assert seen == [40, 58, 59]


async def test_memory_that_never_comes_back_holds_nobody_for_ever(
    caplog: pytest.LogCaptureFixture,
) -> None:
    room = sharing(100, free_bytes=lambda: [10], wait_s=0.1)
    async with running(model("a", scripted("a")), **room) as fleet:
        await asyncio.wait_for(enter(fleet, "a"), 10)
    assert "card 0 has 0.0 GB free of the 0.0 planned after 0.1 s" in caplog.text


async def test_who_is_woken_and_waits_on_keeps_its_place() -> None:
    build = Memory(most=1)
    async with running(
        model("a", scripted()), model("b", scripted("b")), build=build, **ONE_EACH
    ) as f:
        async with f.lease("a"):
            waits = asyncio.create_task(enter(f, "b"))
            managed = f.engine_of("b")
            await until(lambda: bool(managed.replicas.waiters))
            [since] = managed.replicas.waiters.values()
            managed.wake()
            [before] = managed.replicas.waiters
            await until(
                lambda: (
                    bool(managed.replicas.waiters) and list(managed.replicas.waiters) != [before]
                )
            )
            assert list(managed.replicas.waiters.values()) == [since]
        await waits
