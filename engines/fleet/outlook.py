"""What a request that waits for an engine may expect: pure, over a snapshot of the engines."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from engines.fleet.device_memory import DeviceMemory
from engines.fleet.held_memory import once_settled, taken_by
from engines.fleet.pace import FetchPace
from engines.fleet.turns import LATER, TurnRules
from engines.fleet.view import EngineView, State

LONGEST_S = 86_400.0
_FIRST_LOAD = {"vllm": (30.0, 1e9), "llamacpp": (1.0, 1e9)}
"""Seconds, and bytes of weights a second, of a load that was never seen."""
_COMES, _GOES = ("starting", "waking"), ("stopping", "falling_asleep")

Facts: TypeAlias = Mapping[str, str | int | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """None: nobody can say."""

    state: State
    percent: int | None = None
    """Of its weights that are on this machine, while they are fetched."""
    position: int | None = None
    """Among the engines that wait to load in the same memory; 1: it is the next."""
    eta_s: float | None = None
    """Until it is ready; 0 to LONGEST_S."""

    def facts(self) -> Facts:
        """For a client; `eta_s` in whole seconds."""
        eta_s = None if self.eta_s is None else math.ceil(self.eta_s)
        return {
            "state": self.state,
            "percent": self.percent,
            "position": self.position,
            "eta_s": eta_s,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Prospect:
    """What is known of one engine's way besides its view."""

    in_state_s: float = 0.0
    load_s: float | None = None
    """How long its start takes, or its wake where it sleeps, by its last one or by its weights."""
    pace: FetchPace | None = None


def first_load_s(kind: str, weights_bytes: int) -> float | None:
    """A start that was never seen, of an engine of that kind; None: it cannot be guessed."""
    if kind not in _FIRST_LOAD or not weights_bytes:
        return None
    base_s, bytes_a_second = _FIRST_LOAD[kind]
    return base_s + weights_bytes / bytes_a_second


def outlook(
    key: str,
    engines: Sequence[EngineView],
    prospects: Mapping[str, Prospect],
    now: float,
    room: DeviceMemory | None = None,
    turns: TurnRules | None = None,
) -> Outlook:
    """`prospects` by key. Raises KeyError where no engine has this key."""
    engine = {e.key: e for e in engines}[key]
    if engine.state == "ready" and not (engine.is_leaving or engine.is_broken):
        return Outlook(state="ready", eta_s=0.0)
    way = _Way(engine, engines, prospects, now, room, turns or TurnRules())
    return Outlook(
        state="stopping" if engine.state == "ready" else engine.state,
        percent=way.percent(),
        position=None if engine.state in _COMES else 1 + len(way.ahead()),
        eta_s=way.eta_s(),
    )


def outlooks(
    keys: Iterable[str],
    engines: Sequence[EngineView],
    prospects: Mapping[str, Prospect],
    now: float,
    room: DeviceMemory | None,
    turns: TurnRules,
) -> dict[str, Outlook]:
    """Each by its key."""
    return {key: outlook(key, engines, prospects, now, room, turns) for key in keys}


class _Way:
    """One engine's way to being ready. Times are seconds from now; None: nobody can say."""

    def __init__(
        self,
        engine: EngineView,
        engines: Sequence[EngineView],
        prospects: Mapping[str, Prospect],
        now: float,
        room: DeviceMemory | None,
        turns: TurnRules,
    ) -> None:
        self._engine, self._prospects, self._now = engine, prospects, now
        self._others = [e for e in engines if e.key != engine.key]
        self._room, self._turns = room, turns
        self._own = prospects.get(engine.key, Prospect())

    def percent(self) -> int | None:
        pace = self._own.pace
        is_fetching = self._engine.state == "fetching" and not self._engine.is_fetched
        return pace.percent() if is_fetching and pace is not None else None

    def eta_s(self) -> float | None:
        """Its fetch and its turn come nearer at once; its load comes after both."""
        fetch_s, turn_s, load_s = self._fetch_s(), self._turn_s(), self._load_s()
        if fetch_s is None or turn_s is None or load_s is None:
            return None
        return min(LONGEST_S, max(fetch_s, turn_s) + load_s)

    def ahead(self) -> list[EngineView]:
        """Those that load now, or will before this one, in its memory."""
        return [e for e in self._others if self._is_ahead(e) and self._shares(e)]

    def _is_ahead(self, other: EngineView) -> bool:
        if other.state in _COMES:
            return True
        waits = other.state == "sleeping" or (other.state == "fetching" and other.is_fetched)
        if not waits or other.waiting_since is None:
            return False
        own = self._engine.waiting_since
        if own is None:
            return not other.is_patient
        return (other.is_patient, other.waiting_since) < (self._engine.is_patient, own)

    def _shares(self, other: EngineView) -> bool:
        need, theirs = self._engine.need, other.need
        if self._room is None or need is None or theirs is None:
            return True
        on_cards = bool(need.bytes_each and theirs.bytes_each)
        return on_cards or bool(need.host_bytes and theirs.host_bytes)

    def _fetch_s(self) -> float | None:
        engine = self._engine
        if engine.state not in ("cold", "fetching", "failed") or engine.is_fetched:
            return 0.0
        if engine.state == "fetching" and self._own.pace is not None:
            return self._own.pace.left_s(self._now)
        is_here = engine.load_s > 0
        return max(0.0, engine.retry_at - self._now) if is_here else None

    def _turn_s(self) -> float | None:
        if self._engine.state in _COMES:
            return 0.0
        leavers = self._leavers()
        if leavers is None:
            return None
        rests = [self._rest_s(each) for each in leavers]
        loads = [self._ahead_s(each) for each in self.ahead() if each not in leavers]
        return _sum([_most(rests), *loads])

    def _leavers(self) -> list[EngineView] | None:
        """Those that must leave for it; None: it finds no room by anybody's leaving."""
        need, room = self._engine.wanted, self._room
        if need is None or room is None:
            return []
        going = [e for e in self._others if e.state in _GOES or e.is_broken]
        taken = once_settled(taken_by(self._others), going)
        if room.place(need, taken) is not None:
            return []
        staying = [e for e in self._others if e not in going]
        return self._turns.later_leavers(need, room, taken, staying)

    def _rest_s(self, leaver: EngineView) -> float | None:
        """Of its turn; its running requests end some time after it."""
        at = self._turns.may_leave_at(leaver)
        return max(0.0, at - self._now) if at < LATER else self._ahead_s(leaver)

    def _ahead_s(self, other: EngineView) -> float | None:
        """Until one that loads first has loaded, and had its turn where both cannot stay."""
        prospect = self._prospects.get(other.key, Prospect())
        if prospect.load_s is None:
            return None
        in_load_s = prospect.in_state_s if other.state in _COMES else 0.0
        load_s = max(0.0, prospect.load_s - in_load_s)
        if self._stands_beside(other):
            return load_s
        return load_s + max(self._turns.turn_s, prospect.load_s)

    def _stands_beside(self, other: EngineView) -> bool:
        room, need, theirs = self._room, self._engine.wanted, other.wanted
        if room is None or need is None or theirs is None:
            return True
        devices = other.devices or room.place(theirs, {})
        return devices is not None and (
            room.place(need, {device: theirs.on(device) for device in devices}) is not None
        )

    def _load_s(self) -> float | None:
        """One that takes longer than was thought may take any time."""
        load_s = self._own.load_s
        if self._engine.state not in _COMES or load_s is None:
            return load_s
        left_s = load_s - self._own.in_state_s
        return left_s if left_s > 0 else None


def _sum(times: Sequence[float | None]) -> float | None:
    known = list(_known(times))
    return sum(known) if len(known) == len(times) else None


def _most(times: Sequence[float | None]) -> float | None:
    known = list(_known(times))
    return max(known, default=0.0) if len(known) == len(times) else None


def _known(times: Sequence[float | None]) -> Iterator[float]:
    return (time_s for time_s in times if time_s is not None)
