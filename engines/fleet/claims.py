"""What one decision has promised of a node's memory: its cards, and its own for who sleeps."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from engines.fleet.device_memory import HOST, DeviceMemory, MemoryNeed
from engines.fleet.held_memory import once_settled, taken_by, with_more, without
from engines.fleet.sleep_rules import SleepRules
from engines.fleet.view import EngineView


class Claims:
    """Over one snapshot; what a step of the decision has claimed is taken for all that come after
    it."""

    def __init__(
        self, engines: Sequence[EngineView], room: DeviceMemory | None, rules: SleepRules
    ) -> None:
        self._room, self._rules = room, rules
        self._now = {engine.key: engine for engine in engines}
        """What they will be once the decision's steps have begun."""
        self.taken = taken_by(engines)

    def level(self, engine: EngineView) -> int:
        """How deep it may sleep: the weights stay in the machine's memory (1) while that has room
        for them, else they are dropped (2). 0: not at all. What is pinned never does."""
        if engine.state != "ready" or engine.is_pinned or not engine.can_sleep:
            return 0
        return 1 if self._has_host_memory(engine.weights_bytes) else 2

    def _has_host_memory(self, weights_bytes: int) -> bool:
        asleep = sum(each.host_weights_bytes for each in self._now.values())
        if not weights_bytes or asleep + weights_bytes > self._rules.host_bytes:
            return False
        most = None if self._room is None else self._room.host_bytes
        return most is None or self.taken.get(HOST, 0) + weights_bytes <= most

    def fall_asleep(self, engine: EngineView, level: int) -> None:
        self._become(engine, replace(engine, state="falling_asleep", sleep_level=level))

    def may_sleep(self, engine: EngineView, level: int, going: Sequence[str]) -> dict[int, int]:
        """What would be taken once those of `going` have settled, and it slept."""
        asleep = replace(engine, state="sleeping", sleep_level=level)
        rest = self.once_settled([key for key in going if key != engine.key])
        return with_more(without(rest, [self._now[engine.key]]), [asleep])

    def rise(self, engine: EngineView) -> None:
        """One that sleeps no longer holds of its cards what it kept of them asleep: what it serves
        in is promised apart."""
        self._become(engine, replace(engine, devices=()))

    def lie_down(self, engine: EngineView) -> None:
        """It sleeps on, since there is no room for it."""
        self._become(self._now[engine.key], engine)

    def promise(self, need: MemoryNeed, devices: Iterable[int]) -> None:
        for device in devices:
            self.taken[device] = self.taken.get(device, 0) + need.on(device)

    def once_settled(self, going: Iterable[str]) -> dict[int, int]:
        """What is taken once those are gone, or asleep."""
        return once_settled(self.taken, [self._now[key] for key in going])

    def _become(self, engine: EngineView, other: EngineView) -> None:
        self.taken = with_more(without(self.taken, [engine]), [other])
        self._now[engine.key] = other


def priced(
    engines: Sequence[EngineView], room: DeviceMemory | None, rules: SleepRules
) -> list[EngineView]:
    """Those that would sleep where others are stopped come back by a wake: that is what their
    leaving costs."""
    claims = Claims(engines, room, rules)
    return [_priced(engine, claims.level(engine)) for engine in engines]


def _priced(engine: EngineView, level: int) -> EngineView:
    if not level:
        return engine
    return replace(engine, return_s=engine.wakes_s[level - 1])
