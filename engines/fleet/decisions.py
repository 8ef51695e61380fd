"""What to start and stop next: pure decisions over a snapshot of the engines."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from engines.fleet.actions import Action, Fetch, Refuse, Stop, Why
from engines.fleet.device_memory import DeviceMemory
from engines.fleet.followers import follow, is_follower
from engines.fleet.swap import Swap
from engines.fleet.turns import LATER, TurnRules
from engines.fleet.view import EngineView, are_replicas


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """How long to leave an engine alone after its n-th failure in a row (seconds)."""

    first_s: float = 1.0
    factor: float = 2.0
    longest_s: float = 120.0
    forgiven_after_s: float = 60.0
    """An engine that served for so long starts counting its failures afresh."""

    def delay_s(self, failures: int) -> float:
        """0 before the first failure; the exponent is bounded, so that it never overflows."""
        if failures <= 0:
            return 0.0
        return min(self.longest_s, self.first_s * self.factor ** min(failures - 1, 64))


TURNS = TurnRules()


def decide(
    engines: Sequence[EngineView],
    now: float,
    room: DeviceMemory | None = None,
    turns: TurnRules = TURNS,
) -> list[Action]:
    """The next steps, engines given in the registry's order. Same snapshot, same answer. Without a
    room every engine is taken to fit beside the others."""
    swap = Swap(engines, now, room, turns)
    actions = [*_stops(engines, now), *_fetches(engines, now, room), *swap.actions()]
    actions += follow(engines, now, room, swap.taken)
    return list(dict.fromkeys(actions))


def next_time(
    engines: Sequence[EngineView],
    now: float,
    room: DeviceMemory | None = None,
    turns: TurnRules = TURNS,
) -> float | None:
    """When `decide` may answer differently though nothing else happens; None: never."""
    times = [e.retry_at for e in engines if _is_wanted(e) or is_follower(e, engines)]
    times += [_ends_at(e, engines, now) for e in engines]
    if is_short(engines, room):
        times += [turns.may_leave_at(e) for e in engines]
    return min((at for at in times if now < at < LATER), default=None)


def is_short(engines: Sequence[EngineView], room: DeviceMemory | None) -> bool:
    """Whether somebody waits, perhaps for memory."""
    return room is not None and any(
        e.state == "fetching" and e.is_fetched and e.waiting_since is not None for e in engines
    )


def _stops(engines: Sequence[EngineView], now: float) -> list[Action]:
    """Broken engines end at once, idle ones at the end of their time, one that an operator ends
    also while it loads."""
    found = [(e, _why_it_stops(e, engines, now)) for e in engines]
    return [Stop(e.key, why) for e, why in found if why is not None]


def _why_it_stops(engine: EngineView, engines: Sequence[EngineView], now: float) -> Why | None:
    if engine.state in ("fetching", "starting"):
        return "operator" if engine.is_unwanted else None
    if engine.state != "ready":
        return None
    if engine.is_broken:
        return "broken"
    if engine.leases or _ends_at(engine, engines, now) > now:
        return None
    return "operator" if engine.is_unwanted else "idle"


def _ends_at(engine: EngineView, engines: Sequence[EngineView], now: float) -> float:
    """When an engine that nobody uses ends by itself, and its replicas with it; of a busy one, when
    to look again."""
    if engine.is_unwanted and engine.state == "ready" and not engine.leases:
        return now
    if engine.keep_s is None or engine.is_pinned or engine.state != "ready":
        return math.inf
    alike = [e for e in engines if e.state == "ready" and are_replicas(e, engine)] or [engine]
    return engine.keep_s + max(_last_use(e, now) for e in alike)


def _last_use(engine: EngineView, now: float) -> float:
    return now if engine.leases else max(engine.ready_at, engine.used_at)


def _fetches(engines: Sequence[EngineView], now: float, room: DeviceMemory | None) -> list[Action]:
    """Side by side, also while others load: a download of hours must hold up nobody else. What can
    never fit is refused before a byte moves."""
    wanted = [e for e in engines if _is_wanted(e) and e.retry_at <= now]
    return [
        Fetch(e.key) if room is None or e.need is None or room.can_hold(e.need) else Refuse(e.key)
        for e in wanted
    ]


def _is_wanted(engine: EngineView) -> bool:
    asked = engine.keep_ready or engine.waiting_since is not None
    return asked and engine.state in ("cold", "failed") and not engine.is_final
