"""Models that take turns by sleep and wake, while their engines are killed and frozen under them:
asleep, on their way, serving. Some seconds of what benchmarks/fleet_soak.py does to engines that
cannot sleep."""

import asyncio
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from benchmarks.fleet_crowd import Crowd
from benchmarks.fleet_site import difference
from engines.fleet.backoff import Backoff
from engines.fleet.device_memory import DeviceMemory, MemoryNeed
from engines.fleet.node_memory import NodeMemory
from engines.fleet.sleep_rules import SleepRules
from engines.fleet.start_limit import StartLimit
from engines.fleet.turns import TurnRules
from engines.testing.scripted import ScriptedEngine
from tests.support.serving import Served, read_records, scripted, serving

pytestmark = pytest.mark.slow

ALIASES = ("alpha", "beta", "gamma", "delta")
CLIENTS = 6
LEAST_S, MOST_S = 6.0, 60.0
LONGEST_WAIT_S = 20.0
"""Three turns of half a second, each with a fault that is seen after a second; a busy machine."""
FLEET = {
    "memory": NodeMemory(
        DeviceMemory((100,), 1000, spare=(20,)),
        need=lambda spec: MemoryNeed(bytes_each=45, asleep_bytes_each=5, weights_bytes=40),
    ),
    "turns": TurnRules(settle_s=0.1, turn_s=0.5),
    "sleeping": SleepRules(host_bytes=80, base_s=0.5),
    "start_limit": StartLimit.of(0.5),
    "backoff": Backoff(first_s=0.02, longest_s=0.1),
    "check_interval_s": 0.05,
    "check_timeout_s": 0.2,
}
"""Of a card that has room for two, and host memory for the weights of two that sleep at level 1."""
WAYS = {"load_s": 0.03, "sleep_s": 0.03, "wake_s": 0.03, "token_delay_s": 0.002}


class Freezable(ScriptedEngine):
    """As a process that gets SIGSTOP: whatever it does goes no further."""

    async def start(self) -> None:
        await super().start()
        await self._while_frozen()

    async def sleep(self, level: int = 1) -> None:
        await super().sleep(level)
        await self._while_frozen()

    async def wake(self) -> None:
        await super().wake()
        await self._while_frozen()

    def freeze(self) -> None:
        self._hung = True

    async def _while_frozen(self) -> None:
        while self._hung:
            await asyncio.sleep(0.01)
            self._check_alive()


class Faults:
    """To a random engine that lives, whatever it does just then."""

    def __init__(self, server: Served, drawn: random.Random) -> None:
        owner = server.services.fleet._owner
        assert owner is not None
        self._server, self._drawn, self._loop = server, drawn, owner.get_loop()
        self.done: Counter[tuple[str, str]] = Counter()
        """(fault, the state that it met)"""

    def one(self) -> None:
        self._loop.call_soon_threadsafe(self._one)

    def _one(self) -> None:
        """In the server's loop: engines are no other thread's."""
        states = {status.key: status.state for status in self._server.services.fleet.statuses()}
        alive = [engine for engine in self._server.engines if not (engine._dead or engine._hung)]
        alive = [engine for engine in alive if states[engine.spec.key] != "stopping"]
        if alive:
            engine = self._drawn.choice(alive)
            fault = self._drawn.choice(["kill", "freeze"])
            getattr(engine, fault)()
            self.done[fault, states[engine.spec.key]] += 1


def crowded(server: Served, drawn: random.Random) -> tuple[Crowd, Faults]:
    """Until enough has happened; bounded."""
    port = int(server.url.rpartition(":")[2])
    crowd = Crowd(port, server.new_key(), CLIENTS, drawn, ALIASES, pause_s=0.05)
    faults, began = Faults(server, drawn), time.monotonic()

    def goes_on() -> bool:
        past_s = time.monotonic() - began
        return past_s < LEAST_S or (past_s < MOST_S and not is_enough(crowd, faults, server))

    async def broken() -> None:
        while goes_on():
            await asyncio.sleep(drawn.uniform(0.1, 0.4))
            faults.one()

    async def both() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(crowd.run(goes_on))
            tasks.create_task(broken())

    asyncio.run(both())
    return crowd, faults


def is_enough(crowd: Crowd, faults: Faults, server: Served) -> bool:
    served = {each.alias for each in crowd.ended if each.end == "done"}
    kinds = {fault for fault, _ in faults.done}
    met = {state for _, state in faults.done}
    return (
        served == set(ALIASES)
        and kinds == {"kill", "freeze"}
        and {"ready", "sleeping"} <= met
        and wakes(server) >= 3
    )


def wakes(server: Served) -> int:
    return sum(status.sleep.wakes for status in server.services.fleet.statuses())


def test_every_request_ends_properly_and_the_ledger_is_exact(tmp_path: Path) -> None:
    models = [scripted(alias, can_sleep=True, text="ord " * 80, **WAYS) for alias in ALIASES]
    rates = {"requests_per_minute": 10**6, "concurrent": 1000}
    with serving(
        tmp_path, *models, build=Freezable, settings=dict[str, Any](rates), fleet=FLEET
    ) as server:
        crowd, faults = crowded(server, random.Random(7))
        assert is_enough(crowd, faults, server), (wakes(server), faults.done)
        levels = [engine.memory.level for engine in server.engines if not engine._dead]
        assert sum(level == 1 for level in levels) <= 2, "more weights than the host's memory has"
    assert crowd.wrong == []
    records = {record["record_id"]: record for record in read_records(tmp_path)}
    found = [difference(each, records.get(each.request_id)) for each in crowd.ended]
    assert [text for text in found if text] == []
    ends = Counter(each.end for each in crowd.ended)
    assert ends["done"] > len(crowd.ended) / 2, ends
    assert max(each.wait_s for each in crowd.ended) < LONGEST_WAIT_S
    assert all(engine._dead for engine in server.engines), "one was not ended"
