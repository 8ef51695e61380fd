"""How an engine falls asleep, sleeps and wakes, beside the fleet's owner, who is told how it
went."""

import asyncio
import logging
import time
from typing import Protocol

from engines.base import Engine, EngineUnavailable
from engines.fleet.actions import Sleep, Stop, Why
from engines.fleet.engine_state import ManagedEngine
from engines.fleet.first_words import FirstWords, first_words
from engines.fleet.inbox import Tell
from engines.fleet.node_memory import NodeMemory
from engines.fleet.sleep_rules import SleepRules
from engines.fleet.sleep_state import Sleeper
from engines.fleet.steps import failure_of, within
from engines.fleet.watch import end_of

log = logging.getLogger("fjord.fleet")


class Owner(Protocol):
    """What they ask of the fleet."""

    def became_ready(self, managed: ManagedEngine, engine: Engine) -> None: ...

    def act(self, action: Stop) -> None: ...


class Sleepers:
    """Each way is bounded, and an engine that does not come through it is stopped: whoever waits
    for it then has it started anew."""

    def __init__(
        self,
        owner: Owner,
        tell: Tell,
        memory: NodeMemory,
        rules: SleepRules,
        check_interval_s: float,
        check_timeout_s: float,
    ) -> None:
        self._owner, self._tell, self._memory, self._rules = owner, tell, memory, rules
        self._check_interval_s, self._check_timeout_s = check_interval_s, check_timeout_s

    async def fall_asleep(self, managed: ManagedEngine, order: Sleep) -> None:
        """Notes what it says, then puts it to sleep."""
        limit_s = self._rules.sleep_limit_s(order.level, managed.sleep.weights_bytes)
        slept = within(limit_s, _slept(managed, order.level), "its way to sleep")
        failure = await failure_of(managed, slept)
        if failure is None:
            self._tell(lambda: self._sleeps(managed))
        else:
            self._tell(lambda: self._did_not_sleep(managed, order.why, failure.reason))

    async def wake(self, managed: ManagedEngine) -> None:
        """Waits for its cards' memory, wakes it, and has it say again what it said."""
        await self._memory.free_again(managed)
        began = time.monotonic()
        limit_s = self._rules.wake_limit_s(managed.sleep.level, managed.sleep.weights_bytes)
        failure = await failure_of(managed, within(limit_s, _woken(managed), "its wake"))
        took_s = time.monotonic() - began
        if failure is None:
            self._tell(lambda: self._woke(managed, took_s))
        else:
            self._tell(lambda: self._did_not_wake(managed, failure.reason))

    def _sleeps(self, managed: ManagedEngine) -> None:
        managed.sleep.fell_asleep(time.monotonic())
        managed.become("sleeping")
        name = f"watch the sleep of {managed.spec.key}"
        managed.task = asyncio.create_task(self._watch(managed), name=name)

    async def _watch(self, managed: ManagedEngine) -> None:
        """One that dies asleep is stopped, and started anew once it is asked for."""
        engine = managed.engine
        assert engine is not None
        reason = await end_of(engine, self._check_interval_s, self._check_timeout_s)
        self._tell(lambda: self._died(managed, engine, reason))

    def _died(self, managed: ManagedEngine, engine: Engine, reason: str) -> None:
        if managed.state == "sleeping" and managed.engine is engine:
            self._end(managed, "broken", f"it died asleep: {reason}")

    def _did_not_sleep(self, managed: ManagedEngine, why: Why, reason: str) -> None:
        managed.sleep.failed_sleeps += 1
        self._end(managed, why, f"it did not fall asleep: {reason}")

    def _woke(self, managed: ManagedEngine, took_s: float) -> None:
        managed.sleep.woke(took_s)
        assert managed.engine is not None
        self._owner.became_ready(managed, managed.engine)

    def _did_not_wake(self, managed: ManagedEngine, reason: str) -> None:
        managed.sleep.wake_failed()
        self._end(managed, "broken", f"it did not wake: {reason}")

    def _end(self, managed: ManagedEngine, why: Why, reason: str) -> None:
        log.error("engine %s is stopped: %s", managed.spec.key, reason)
        managed.reason = reason
        self._owner.act(Stop(managed.spec.key, why))


async def _slept(managed: ManagedEngine, level: int) -> None:
    engine = managed.engine
    if not isinstance(engine, Sleeper):
        raise EngineUnavailable("it cannot sleep")
    managed.sleep.note = await first_words(engine, managed.spec)
    await engine.sleep(level)


async def _woken(managed: ManagedEngine) -> None:
    engine, before = managed.engine, managed.sleep.note
    if not isinstance(engine, Sleeper) or not isinstance(before, FirstWords):
        raise EngineUnavailable("it does not sleep")
    await engine.wake()
    if not before.is_same(await first_words(engine, managed.spec)):
        raise EngineUnavailable("it answers otherwise than before its sleep")
