"""A fleet whose engines sleep: they give their memory back, wake for a request, and none is lost
where that fails."""

import asyncio
from typing import Any

import pytest

from engines.base import InvalidRequest
from engines.fleet.device_memory import DeviceMemory, MemoryNeed
from engines.fleet.fleet import Fleet
from engines.fleet.node_memory import NodeMemory
from engines.fleet.sleep_rules import SleepRules
from engines.fleet.turns import TurnRules
from engines.registry.spec import EngineSpec, ModelSpec
from engines.testing.scripted import ScriptedEngine
from tests.support.fleets import Workshop, enter, model, running, say, scripted, status, until

pytestmark = pytest.mark.anyio

WEIGHTS, CACHE, KEPT = 40, 20, 5
EVER = 10_000.0


def sleeper(alias: str, *, keep_s: float | None = None, pinned: bool = False, **args: Any) -> Any:
    args = {"can_sleep": True, "weights_bytes": WEIGHTS, "cache_bytes": CACHE, **args}
    return model(alias, scripted(alias, **args), keep_s=keep_s, is_pinned=pinned)


def node(*cards: int, host_bytes: int = 1000, **rules: Any) -> dict[str, Any]:
    """Cards of so many bytes, and engines that take 60 of one. Turns are short."""

    def need(spec: EngineSpec) -> MemoryNeed:
        return MemoryNeed(bytes_each=WEIGHTS + CACHE, asleep_bytes_each=KEPT, weights_bytes=WEIGHTS)

    return {
        "memory": NodeMemory(DeviceMemory(cards), need),
        "turns": TurnRules(settle_s=0.02, turn_s=0.05),
        "sleeping": SleepRules(host_bytes=host_bytes, **rules),
    }


def card_bytes(workshop: Workshop) -> int:
    return sum(engine.memory.card_bytes for engine in workshop.built)


async def answer(fleet: Fleet, alias: str) -> str:
    async with fleet.lease(alias) as engine:
        return "".join(delta.text for delta in await say(engine, "hei"))


async def asleep(fleet: Fleet, alias: str, level: int = 1) -> None:
    await fleet.commands.give("sleep", alias)
    await until(lambda: status(fleet, alias).command is None)
    assert status(fleet, alias).state == "sleeping"
    assert status(fleet, alias).sleep.level == level


# By itself


async def test_an_idle_engine_sleeps_at_the_end_of_its_time_and_ends_after_a_further_one() -> None:
    workshop = Workshop()
    a = sleeper("a", keep_s=0.05)
    async with running(a, build=workshop, **node(100, stay=2.0)) as fleet:
        await enter(fleet, "a")
        await until(lambda: status(fleet, "a").state == "sleeping")
        assert card_bytes(workshop) == 0
        assert workshop.built[0].memory.host_bytes == WEIGHTS
        assert status(fleet, "a").sleep.host_bytes == WEIGHTS
        await until(lambda: status(fleet, "a").state == "cold")
        assert status(fleet, "a").unloads == {"idle": 1}
        assert (status(fleet, "a").sleep.sleeps, status(fleet, "a").sleep.level) == (1, 0)
        await enter(fleet, "a")
        assert len(workshop.built) == 2


async def test_a_request_wakes_it_and_it_is_not_loaded_again() -> None:
    workshop = Workshop()
    a = sleeper("a", keep_s=0.03)
    async with running(a, build=workshop, **node(100, stay=EVER)) as fleet:
        for wakes in range(3):
            assert await asyncio.wait_for(answer(fleet, "a"), 5) == "hei"
            await until(lambda: status(fleet, "a").state == "sleeping")
            found = status(fleet, "a")
            assert (found.loads, found.sleep.wakes, found.sleep.failed_wakes) == (1, wakes, 0)
        assert len(workshop.built) == 1


async def test_two_that_share_a_card_swap_by_sleep_and_wake() -> None:
    workshop = Workshop()
    room = node(60 + KEPT)
    async with running(sleeper("a"), sleeper("b"), build=workshop, **room) as fleet:
        for alias in "ababab":
            assert await asyncio.wait_for(answer(fleet, alias), 5) == "hei"
            assert card_bytes(workshop) == WEIGHTS + CACHE
        assert len(workshop.built) == 2
        assert [status(fleet, alias).loads for alias in "ab"] == [1, 1]
        assert status(fleet, "a").sleep.sleeps == 3


async def test_where_even_a_sleeping_one_is_in_the_way_it_is_stopped() -> None:
    workshop = Workshop()
    async with running(sleeper("a"), sleeper("b"), build=workshop, **node(60)) as fleet:
        for alias in "aba":
            await asyncio.wait_for(enter(fleet, alias), 5)
        assert status(fleet, "b").unloads == {"room": 1}
        assert len(workshop.built) == 3
        assert status(fleet, "b").sleep.sleeps == 0


async def test_one_that_sleeps_is_stopped_where_it_is_in_the_way() -> None:
    workshop = Workshop()
    b = model("b", scripted("b"))
    async with running(sleeper("a"), b, build=workshop, **node(60)) as fleet:
        await enter(fleet, "a")
        await asleep(fleet, "a")
        await asyncio.wait_for(enter(fleet, "b"), 5)
        assert status(fleet, "a").state == "cold"


async def test_a_busy_engine_ends_its_requests_before_it_sleeps() -> None:
    workshop = Workshop()
    room = node(60 + KEPT)
    async with running(sleeper("a"), sleeper("b"), build=workshop, **room) as fleet:
        async with fleet.lease("a") as engine:
            other = asyncio.create_task(enter(fleet, "b"))
            await until(lambda: fleet._by_alias["a"].leaving is not None)
            assert "".join(delta.text for delta in await say(engine, "hei")) == "hei"
            assert workshop.built[0].memory.level == 0
        await asyncio.wait_for(other, 5)
        assert status(fleet, "a").state == "sleeping"


async def test_the_machines_memory_is_for_as_many_as_the_budget_allows() -> None:
    a, b = sleeper("a"), sleeper("b")
    async with running(a, b, **node(200, host_bytes=2 * WEIGHTS - 1)) as fleet:
        for level, alias in ((1, "a"), (2, "b")):
            await enter(fleet, alias)
            await asleep(fleet, alias, level)
        assert [status(fleet, x).sleep.host_bytes for x in "ab"] == [WEIGHTS, 0]
        for alias in "ab":
            assert await answer(fleet, alias) == "hei"


async def test_what_is_pinned_never_sleeps() -> None:
    a, b = sleeper("a", keep_s=0.02, pinned=True), sleeper("b", keep_s=0.02)
    async with running(a, b, **node(200)) as fleet:
        await enter(fleet, "a")
        await enter(fleet, "b")
        await until(lambda: status(fleet, "b").state == "sleeping")
        assert status(fleet, "a").state == "ready"


async def test_one_whose_card_is_held_for_good_starts_anew_on_another() -> None:
    workshop = Workshop()
    a, b = sleeper("a"), sleeper("b", pinned=True)
    async with running(a, b, build=workshop, **node(100, 100)) as fleet:
        await enter(fleet, "a")
        await asleep(fleet, "a")
        await enter(fleet, "b")
        assert status(fleet, "b").devices == status(fleet, "a").devices == (0,)
        await asyncio.wait_for(enter(fleet, "a"), 5)
        assert status(fleet, "a").devices == (1,)


# What goes wrong

SHORT: dict[str, Any] = {"base_s": 0.1}


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ({"fail_wake": "no memory"}, "did not wake: no memory"),
        ({"hang_wake": True}, "its wake took longer than 0.1 s"),
        ({"differs_after_wake": True}, "answers otherwise"),
    ],
)
async def test_a_wake_that_fails_is_a_restart_and_who_waits_is_served(
    fault: dict[str, Any], why: str, caplog: pytest.LogCaptureFixture
) -> None:
    workshop = Workshop()
    a = sleeper("a", **fault)
    async with running(a, build=workshop, **node(100, **SHORT)) as fleet:
        await enter(fleet, "a")
        await asleep(fleet, "a")
        assert await asyncio.wait_for(answer(fleet, "a"), 5) == "hei"
        assert len(workshop.built) == 2
        assert workshop.built[0]._dead
        assert status(fleet, "a").sleep.failed_wakes == 1
        assert status(fleet, "a").unloads == {"broken": 1}
    assert why in caplog.text


async def test_an_engine_whose_wakes_fail_is_stopped_instead_until_an_operator_says_so() -> None:
    workshop = Workshop()
    a = sleeper("a", fail_wake="no memory", keep_s=0.03)
    async with running(a, build=workshop, **node(100, stay=EVER)) as fleet:
        for _ in range(2):
            await enter(fleet, "a")
            await until(lambda: status(fleet, "a").state == "sleeping")
        await enter(fleet, "a")
        await until(lambda: status(fleet, "a").state == "cold")
        assert status(fleet, "a").sleep.sleeps == 2
        await enter(fleet, "a")
        await fleet.commands.give("sleep", "a")
        await until(lambda: status(fleet, "a").sleep.sleeps == 3)


@pytest.mark.parametrize("fault", [{"fail_sleep": "no pinned memory"}, {"hang_sleep": True}])
async def test_one_that_does_not_fall_asleep_is_stopped(fault: dict[str, Any]) -> None:
    workshop = Workshop()
    a = sleeper("a", **fault)
    async with running(a, build=workshop, **node(100, **SHORT)) as fleet:
        await enter(fleet, "a")
        await fleet.commands.give("sleep", "a")
        await until(lambda: status(fleet, "a").command is None)
        assert status(fleet, "a").state == "cold"
        assert "it did not fall asleep" in (status(fleet, "a").reason or "")
        assert (status(fleet, "a").sleep.failed_sleeps, workshop.built[0]._dead) == (1, True)
        await asyncio.wait_for(enter(fleet, "a"), 5)


async def test_one_that_dies_asleep_is_noticed_and_loaded_for_the_next_request() -> None:
    workshop = Workshop()
    async with running(sleeper("a"), build=workshop, **node(100)) as fleet:
        await enter(fleet, "a")
        await asleep(fleet, "a")
        workshop.built[0].kill()
        await until(lambda: status(fleet, "a").state == "cold")
        assert "died asleep" in (status(fleet, "a").reason or "")
        assert (len(workshop.built), status(fleet, "a").restarts) == (1, 0)
        await asyncio.wait_for(enter(fleet, "a"), 5)


async def test_one_that_dies_while_it_wakes_is_started_anew() -> None:
    workshop = Workshop()
    async with running(sleeper("a", wake_s=0.1), build=workshop, **node(100)) as fleet:
        await enter(fleet, "a")
        await asleep(fleet, "a")
        waits = asyncio.create_task(enter(fleet, "a"))
        await until(lambda: status(fleet, "a").state == "waking")
        workshop.built[0].kill()
        await asyncio.wait_for(waits, 5)
        assert len(workshop.built) == 2


class Counted(ScriptedEngine):
    checks = 0

    async def check(self, timeout_s: float) -> None:
        self.checks += 1
        await super().check(timeout_s)


async def test_a_sleeping_engine_is_watched_and_not_taken_for_dead() -> None:
    workshop = Workshop(Counted)
    async with running(sleeper("a"), build=workshop, **node(100)) as fleet:
        await enter(fleet, "a")
        await asleep(fleet, "a")
        [engine] = workshop.built
        assert isinstance(engine, Counted)
        before = engine.checks
        await until(lambda: engine.checks > before + 5)
        assert status(fleet, "a").state == "sleeping"


@pytest.mark.parametrize(
    ("fault", "state"),
    [({"hang_sleep": True}, "falling_asleep"), ({}, "sleeping"), ({"hang_wake": True}, "waking")],
)
async def test_a_fleet_stops_whatever_its_engines_do(fault: dict[str, Any], state: str) -> None:
    workshop = Workshop()
    async with running(sleeper("a", **fault), build=workshop, **node(100)) as fleet:
        await enter(fleet, "a")
        await fleet.commands.give("sleep", "a")
        waits = None
        if state != "falling_asleep":
            await until(lambda: status(fleet, "a").state == "sleeping")
        if state == "waking":
            waits = asyncio.create_task(enter(fleet, "a"))
        await until(lambda: status(fleet, "a").state == state)
        await asyncio.wait_for(fleet.stop(), 5)
        assert workshop.built[0]._dead
        if waits is not None:
            with pytest.raises(Exception, match="shutting down"):
                await waits


async def test_its_cards_memory_is_waited_for_before_it_wakes() -> None:
    free, seen = [[40], [55], [60]], []

    def free_bytes() -> list[int]:
        seen.append(free[0][0])
        return free.pop(0) if len(free) > 1 else free[0]

    room = node(100)
    async with running(sleeper("a"), **room) as fleet:
        await enter(fleet, "a")
        await asleep(fleet, "a")
        room["memory"]._free_bytes = free_bytes
        await asyncio.wait_for(enter(fleet, "a"), 10)
    assert seen == [40, 55]  # 60, but for the 5 that it kept


# What an operator says


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (model("a", scripted("a")), "right would be `can_sleep: true`"),
        (sleeper("a", pinned=True), "pinned, and never sleeps; unpin it first"),
    ],
)
async def test_one_that_cannot_sleep_says_what_would_be_right(spec: ModelSpec, words: str) -> None:
    async with running(spec, **node(100)) as fleet:
        with pytest.raises(InvalidRequest, match="a is cold: only a loaded one can sleep"):
            await fleet.commands.give("sleep", "a")
        await enter(fleet, "a")
        with pytest.raises(InvalidRequest, match=words):
            await fleet.commands.give("sleep", "a")
        assert status(fleet, "a").state == "ready"


async def test_sleep_ends_no_request_and_again_changes_nothing() -> None:
    async with running(sleeper("a"), **node(100)) as fleet:
        async with fleet.lease("a") as engine:
            await fleet.commands.give("sleep", "a")
            await until(lambda: fleet._by_alias["a"].leaving is not None)
            assert status(fleet, "a").command == "sleep"
            assert "".join(delta.text for delta in await say(engine, "hei")) == "hei"
        for _ in range(2):
            await asleep(fleet, "a")
        assert status(fleet, "a").sleep.sleeps == 1


@pytest.mark.parametrize("command", ["load", "unload"])
async def test_one_that_wakes_or_ends_is_not_said_to_sleep(command: Any) -> None:
    """It would be awake, or gone, though the operator was told otherwise."""
    ways: dict[str, dict[str, Any]] = {"load": {"wake_s": 60}, "unload": {}}
    spec = sleeper("a", **ways[command])
    async with running(spec, build=Workshop(SlowToEnd), **node(100)) as fleet:
        await enter(fleet, "a")
        await asleep(fleet, "a")
        await fleet.commands.give(command, "a")
        state = {"load": "waking", "unload": "stopping"}[command]
        await until(lambda: status(fleet, "a").state == state)
        with pytest.raises(InvalidRequest, match=f"a is {state}: only a loaded one can sleep"):
            await fleet.commands.give("sleep", "a")


class SlowToEnd(ScriptedEngine):
    async def stop(self) -> None:
        await asyncio.sleep(0.3)
        await super().stop()


async def test_load_takes_a_sleep_back_and_wakes() -> None:
    async with running(sleeper("a"), **node(100)) as fleet:
        async with fleet.lease("a"):
            await fleet.commands.give("sleep", "a")
            await until(lambda: fleet._by_alias["a"].leaving is not None)
            await fleet.commands.give("load", "a")
            await asyncio.wait_for(enter(fleet, "a"), 5)
        await asleep(fleet, "a")
        await fleet.commands.give("load", "a")
        await until(lambda: status(fleet, "a").command is None)
        assert (status(fleet, "a").state, status(fleet, "a").loads) == ("ready", 1)


@pytest.mark.parametrize("state", ["sleeping", "waking"])
async def test_unload_ends_one_that_sleeps_or_wakes(state: str) -> None:
    workshop = Workshop()
    async with running(sleeper("a", wake_s=60), build=workshop, **node(100)) as fleet:
        await enter(fleet, "a")
        await asleep(fleet, "a")
        if state == "waking":
            await fleet.commands.give("load", "a")
            await until(lambda: status(fleet, "a").state == "waking")
        await fleet.commands.give("unload", "a")
        await until(lambda: status(fleet, "a").command is None)
        assert (status(fleet, "a").state, workshop.built[0]._dead) == ("cold", True)


async def test_what_is_pinned_in_its_sleep_stays_asleep_until_a_request() -> None:
    async with running(sleeper("a", keep_s=0.05), **node(100, stay=0.0)) as fleet:
        await enter(fleet, "a")
        await fleet.commands.give("pin", "a")
        await fleet.commands.give("unpin", "a")
        await until(lambda: status(fleet, "a").sleep.sleeps == 1)
    async with running(sleeper("a"), **node(100)) as fleet:
        await enter(fleet, "a")
        await asleep(fleet, "a")
        await fleet.commands.give("pin", "a")
        assert status(fleet, "a").state == "sleeping"
        await asyncio.wait_for(enter(fleet, "a"), 5)
        assert status(fleet, "a").is_pinned


# The registry read again


async def test_the_same_registry_again_leaves_it_asleep_and_another_ends_it() -> None:
    workshop = Workshop()
    async with running(sleeper("a"), build=workshop, **node(100)) as fleet:
        await enter(fleet, "a")
        await asleep(fleet, "a")
        await fleet.renewal.renew([sleeper("a")], lambda: None)
        assert status(fleet, "a").state == "sleeping"
        await fleet.renewal.renew([sleeper("a", wake_s=0.01)], lambda: None)
        await until(lambda: workshop.built[0]._dead and len(fleet.statuses()) == 1)
        assert status(fleet, "a").state == "cold"
        await asyncio.wait_for(enter(fleet, "a"), 5)
        await asleep(fleet, "a")
        await fleet.renewal.renew([model("b", scripted("b"))], lambda: None)
        await until(lambda: workshop.built[1]._dead)


async def test_one_that_becomes_a_model_of_the_start_wakes() -> None:
    a = sleeper("a")
    async with running(a, **node(100)) as fleet:
        await enter(fleet, "a")
        await asleep(fleet, "a")
        preloaded = model("a", a.engine, preload=True)
        await fleet.renewal.renew([preloaded], lambda: None)
        await until(lambda: status(fleet, "a").state == "ready" and fleet.is_ready())
        assert status(fleet, "a").loads == 1


# What who waits is told


async def test_the_outlook_of_one_that_sleeps_knows_its_wake() -> None:
    async with running(sleeper("a", wake_s=0.3), **node(100)) as fleet:
        await enter(fleet, "a")
        await asleep(fleet, "a")
        found = fleet.outlook("a")
        assert (found.state, found.position) == ("sleeping", 1)
        assert found.eta_s == pytest.approx(1.0)  # of 40 bytes, never seen yet
        waits = asyncio.create_task(enter(fleet, "a"))
        await until(lambda: fleet.outlook("a").state == "waking")
        assert fleet.outlook("a").position is None
        await waits
        await asleep(fleet, "a")
        eta_s = fleet.outlook("a").eta_s
        assert eta_s is not None
        assert 0.3 <= eta_s < 5.0  # as the last one took
