"""A fleet whose scripted engines can sleep, on cards of so many bytes."""

from typing import Any

from engines.fleet.device_memory import DeviceMemory, MemoryNeed
from engines.fleet.fleet import Fleet
from engines.fleet.node_memory import NodeMemory
from engines.fleet.sleep_rules import SleepRules
from engines.fleet.turns import TurnRules
from engines.registry.spec import EngineSpec
from tests.support.fleets import Workshop, model, say, scripted, status, until

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
