"""What an operator says to an engine that sleeps, and what the registry read again says."""

import asyncio
from typing import Any

import pytest

from engines.base import InvalidRequest
from engines.registry.spec import ModelSpec
from engines.testing.scripted import ScriptedEngine
from tests.support.fleets import Workshop, enter, model, running, say, scripted, status, until
from tests.support.sleepers import asleep, node, sleeper

pytestmark = pytest.mark.anyio


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
