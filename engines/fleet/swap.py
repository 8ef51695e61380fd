"""Who starts now, where, and who leaves so that another can."""

from collections.abc import Iterator, Sequence

from engines.fleet.actions import Action, Displace, Leave, Start, Stay, Stop
from engines.fleet.device_memory import DeviceMemory, MemoryNeed
from engines.fleet.turns import TurnRules, taken_by, without
from engines.fleet.view import EngineView


class Swap:
    """One decision over a snapshot. The longest waiting engine chooses first; what it was promised
    is taken for all that come after it."""

    def __init__(
        self, engines: Sequence[EngineView], now: float, room: DeviceMemory | None, turns: TurnRules
    ) -> None:
        self._engines, self._now, self._room, self._turns = engines, now, room, turns
        self.taken = taken_by(engines)
        """Bytes by device, and from `actions` on also what was promised."""
        self._moving = [e for e in engines if e.state in ("starting", "stopping") or e.is_broken]
        self._going = [
            e
            for e in engines
            if e.state == "stopping" or e.is_broken or (e.state == "ready" and e.is_unwanted)
        ]
        self._leaving: list[EngineView] = []
        """Chosen to make room."""
        self._loading: list[tuple[int, ...]] = [e.devices for e in self._moving]

    def actions(self) -> list[Action]:
        able = [e for e in self._engines if e.state == "fetching" and not e.is_unwanted]
        fetched = [e for e in able if e.is_fetched]
        starts = [action for e in sorted(fetched, key=_urgency) for action in self._next(e)]
        return [*self._leaves(), *starts]

    def _next(self, engine: EngineView) -> Iterator[Action]:
        if self._room is None or engine.need is None:
            yield from self._start(engine, ())
        elif (devices := self._room.place(engine.need, self.taken)) is not None:
            self._promise(engine.need, devices)
            yield from self._start(engine, devices)
        elif (devices := self._made_room(engine, engine.need, self._room)) is not None:
            self._promise(engine.need, devices)
        elif engine.waiting_since is None and not self._going:
            yield Displace(engine.key)

    def _start(self, engine: EngineView, devices: tuple[int, ...]) -> Iterator[Action]:
        """One at a time on a device: an engine measures its free memory while it starts, so that a
        second one loading, or one still giving memory back, would make it measure wrong."""
        if any(not busy or not devices or set(busy) & set(devices) for busy in self._loading):
            return
        self._loading.append(devices)
        yield Start(engine.key, devices)

    def _made_room(
        self, engine: EngineView, need: MemoryNeed, room: DeviceMemory
    ) -> tuple[int, ...] | None:
        """Where there will be room once those are gone that go already, and those that leave for
        this engine, now or when their time is over: only for one that somebody waits for."""
        going = [*self._going, *self._leaving]
        later = without(self.taken, going)
        if engine.waiting_since is None or room.place(need, later) is not None:
            return room.place(need, later)
        able = [e for e in self._engines if e not in going]
        found = self._turns.leavers(need, room, later, able, self._now)
        if found is not None:
            self._leaving += found
        else:  # nobody may start meanwhile where it will stand, or its turn never comes
            found = self._turns.later_leavers(need, room, later, able) or []
        return room.place(need, without(later, found))

    def _promise(self, need: MemoryNeed, devices: tuple[int, ...]) -> None:
        for device in devices:
            self.taken[device] = self.taken.get(device, 0) + need.on(device)

    def _leaves(self) -> Iterator[Action]:
        for engine in self._engines:
            if engine.state != "ready" or engine.is_broken:
                continue
            if engine not in self._leaving and not engine.is_unwanted:
                if engine.is_leaving:
                    yield Stay(engine.key)
            elif not engine.leases:
                yield Stop(engine.key, "operator" if engine.is_unwanted else "room")
            elif not engine.is_leaving:
                yield Leave(engine.key)


def _urgency(engine: EngineView) -> tuple[bool, float]:
    """Who has waited longest comes first, then preloads in the registry's order (sorted is
    stable)."""
    waiting = engine.waiting_since
    return (waiting is None, waiting or 0.0)
