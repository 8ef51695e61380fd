"""Who starts or wakes now, where, and who leaves so that another can."""

from collections.abc import Iterator, Mapping, Sequence

from engines.fleet.actions import Action, Displace, Leave, Sleep, Start, Stay, Stop, Wake, Why
from engines.fleet.claims import Claims
from engines.fleet.device_memory import DeviceMemory, MemoryNeed
from engines.fleet.held_memory import without
from engines.fleet.turns import TurnRules
from engines.fleet.view import EngineView


class Swap:
    """One decision over a snapshot. The longest waiting engine chooses first; what it was promised
    is taken for all that come after it."""

    def __init__(
        self,
        engines: Sequence[EngineView],
        now: float,
        room: DeviceMemory | None,
        turns: TurnRules,
        claims: Claims,
        asleep: Mapping[str, int],
    ) -> None:
        """`asleep`: key -> level of those that fall asleep by this decision already."""
        self._engines, self._now, self._room, self._turns = engines, now, room, turns
        self._claims, self._asleep, self._levels = claims, asleep, dict(asleep)
        here = [e for e in engines if not e.is_elsewhere]
        moving = [e for e in here if _is_moving(e) or e.key in asleep]
        self._going = [e for e in engines if _is_going(e) or e.key in asleep]
        self._leaving: list[EngineView] = []
        """Chosen to make room."""
        self._loading: list[tuple[int, ...]] = [e.devices for e in moving]
        self._chosen: set[str] = set()
        """Of those that sleep: they wake."""
        for engine in engines:
            if engine.state == "ready" and engine.is_to_sleep and engine not in self._going:
                self._send_to_sleep(engine)

    def actions(self) -> list[Action]:
        able = sorted(filter(_may_come, self._engines), key=_urgency)
        comes = [action for e in able for action in self._next(e)]
        return [*self._leaves(), *comes]

    def _send_to_sleep(self, engine: EngineView) -> None:
        """An operator does."""
        if level := self._claims.level(engine):
            self._levels[engine.key] = level
            self._claims.fall_asleep(engine, level)
        self._going.append(engine)

    def _next(self, engine: EngineView) -> Iterator[Action]:
        need = engine.wanted
        if engine.is_elsewhere:
            yield Start(engine.key, ())
            return
        if self._room is None or need is None:
            yield from self._start(engine, engine.devices)
            return
        is_asleep = engine.state == "sleeping"
        if is_asleep:
            self._claims.rise(engine)
            self._chosen.add(engine.key)
        if (devices := self._room.place(need, self._claims.taken)) is not None:
            self._claims.promise(need, devices)
            yield from self._start(engine, devices)
        elif (devices := self._made_room(engine, need, self._room)) is not None:
            self._claims.promise(need, devices)
        elif is_asleep:
            self._claims.lie_down(engine)
            if self._can_stand_elsewhere(engine, self._room):
                yield Stop(engine.key)
        elif engine.waiting_since is None and not self._going:
            yield Displace(engine.key)

    def _start(self, engine: EngineView, devices: tuple[int, ...]) -> Iterator[Action]:
        """One at a time on a device: an engine measures its free memory while it starts, so that a
        second one loading, or one still giving memory back, would make it measure wrong."""
        if any(not busy or not devices or set(busy) & set(devices) for busy in self._loading):
            return
        self._loading.append(devices)
        yield Wake(engine.key) if engine.state == "sleeping" else Start(engine.key, devices)

    def _can_stand_elsewhere(self, engine: EngineView, room: DeviceMemory) -> bool:
        """Where its cards are held for good, it starts anew on others."""
        others = [e for e in self._engines if e.key != engine.key]
        taken = without(self._claims.taken, [engine])
        if (need := engine.need) is None:
            return False
        return self._turns.later_leavers(need, room, taken, others) is not None

    def _made_room(
        self, engine: EngineView, need: MemoryNeed, room: DeviceMemory
    ) -> tuple[int, ...] | None:
        """Where there will be room once those are gone that go already, and those that leave for
        this engine, now or when their time is over: only for one that somebody waits for."""
        going = [*self._going, *self._leaving]
        later = self._claims.once_settled(e.key for e in going)
        if engine.waiting_since is None or room.place(need, later) is not None:
            return room.place(need, later)
        able = [e for e in self._engines if e not in going and e.key not in self._chosen]
        to_patient = engine.is_patient
        found = self._turns.leavers(need, room, later, able, self._now, to_patient=to_patient)
        if found is not None:
            self._leaving += found
            self._choose_beds(found, need, room)
        else:  # nobody may start meanwhile where it will stand, or its turn never comes
            found = self._turns.later_leavers(need, room, later, able, to_patient=to_patient) or []
            return room.place(need, without(later, found))
        return room.place(need, self._claims.once_settled(e.key for e in [*going, *found]))

    def _choose_beds(
        self, found: Sequence[EngineView], need: MemoryNeed, room: DeviceMemory
    ) -> None:
        """Of those that leave for `need`, those sleep that can beside it; the others stop."""
        for leaver in found:
            if not (level := self._claims.level(leaver)):
                continue
            going = [e.key for e in [*self._going, *self._leaving]]
            if room.place(need, self._claims.may_sleep(leaver, level, going)) is not None:
                self._levels[leaver.key] = level
                self._claims.fall_asleep(leaver, level)

    def _leaves(self) -> Iterator[Action]:
        for engine in self._engines:
            if engine.state not in ("ready", "sleeping") or engine.is_broken:
                continue
            if engine.key in self._asleep:
                continue
            if engine not in self._leaving and not _is_sent_off(engine):
                if engine.is_leaving:
                    yield Stay(engine.key)
            elif not engine.leases:
                yield self._end(engine)
            elif not engine.is_leaving:
                yield Leave(engine.key)

    def _end(self, engine: EngineView) -> Action:
        why: Why = "operator" if _is_sent_off(engine) else "room"
        level = self._levels.get(engine.key)
        return Stop(engine.key, why) if level is None else Sleep(engine.key, level, why)


def _is_sent_off(engine: EngineView) -> bool:
    """By an operator."""
    return engine.is_unwanted or (engine.is_to_sleep and engine.state == "ready")


def _is_moving(engine: EngineView) -> bool:
    states = ("starting", "stopping", "falling_asleep", "waking")
    return engine.state in states or engine.is_broken


def _is_going(engine: EngineView) -> bool:
    if engine.state in ("stopping", "falling_asleep") or engine.is_broken:
        return True
    return engine.state in ("ready", "sleeping") and engine.is_unwanted


def _may_come(engine: EngineView) -> bool:
    if engine.is_unwanted or engine.is_broken:
        return False
    if engine.state == "sleeping":
        return engine.waiting_since is not None
    return engine.state == "fetching" and engine.is_fetched


def _urgency(engine: EngineView) -> tuple[bool, bool, float]:
    """Who has waited longest comes first, the patient last of them, then preloads in the registry's
    order (sorted is stable)."""
    waiting = engine.waiting_since
    return (waiting is None, engine.is_patient, waiting or 0.0)
