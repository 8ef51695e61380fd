"""Aliases with several equal engines: how many are ready, and cards that hold them."""

import asyncio
from collections.abc import Callable
from typing import Any

from engines.fleet.device_memory import DeviceMemory, MemoryNeed
from engines.fleet.fleet import Fleet
from engines.fleet.node_memory import NodeMemory
from engines.fleet.status import EngineStatus
from engines.fleet.turns import TurnRules
from tests.support.fleets import until


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
