"""Which engine starts, wakes, sleeps or stops next: pure decisions over a snapshot of them."""

import math
from collections.abc import Iterator, Sequence

from engines.fleet.actions import Action, Fetch, Refuse, Sleep, Stop, Why
from engines.fleet.claims import Claims, priced
from engines.fleet.device_memory import DeviceMemory
from engines.fleet.followers import follow, is_follower
from engines.fleet.sleep_rules import SleepRules
from engines.fleet.swap import Swap
from engines.fleet.turns import LATER, TurnRules
from engines.fleet.view import EngineView, are_replicas

TURNS = TurnRules()
SLEEP = SleepRules()


def decide(
    engines: Sequence[EngineView],
    now: float,
    room: DeviceMemory | None = None,
    turns: TurnRules = TURNS,
    rules: SleepRules = SLEEP,
) -> list[Action]:
    """The next steps, engines given in the registry's order. Same snapshot, same answer. Without a
    room every engine is taken to fit beside the others."""
    engines = priced(engines, room, rules)
    claims = Claims(engines, room, rules)
    ends = list(_ends(engines, now, claims, rules))
    asleep = {each.key: each.level for each in ends if isinstance(each, Sleep)}
    swap = Swap(engines, now, room, turns, claims, asleep)
    actions = [*ends, *_fetches(engines, now, room), *swap.actions()]
    actions += follow(engines, now, room, claims.taken)
    return list(dict.fromkeys(actions))


def next_time(
    engines: Sequence[EngineView],
    now: float,
    room: DeviceMemory | None = None,
    turns: TurnRules = TURNS,
    rules: SleepRules = SLEEP,
) -> float | None:
    """When `decide` may answer differently though nothing else happens; None: never."""
    engines = priced(engines, room, rules)
    times = [e.retry_at for e in engines if _is_wanted(e) or is_follower(e, engines)]
    times += [_ends_at(e, engines, now, rules) for e in engines]
    if is_short(engines, room):
        times += [turns.may_leave_at(e, to_patient=p) for e in engines for p in (False, True)]
    return min((at for at in times if now < at < LATER), default=None)


def is_short(engines: Sequence[EngineView], room: DeviceMemory | None) -> bool:
    """Whether somebody waits, perhaps for memory."""
    if room is None:
        return False
    return any(e.waiting_since is not None and _waits_for_its_turn(e) for e in engines)


def _waits_for_its_turn(engine: EngineView) -> bool:
    return engine.state == "sleeping" or (engine.state == "fetching" and engine.is_fetched)


def _ends(
    engines: Sequence[EngineView], now: float, claims: Claims, rules: SleepRules
) -> Iterator[Action]:
    """Broken engines end at once, one that an operator ends also while it loads. Idle ones sleep at
    the end of their time, where they can, and end after a further one."""
    for engine in engines:
        why = _why_it_ends(engine, engines, now, rules)
        level = claims.level(engine) if why == "idle" else 0
        if level:
            claims.fall_asleep(engine, level)
            yield Sleep(engine.key, level, "idle")
        elif why is not None:
            yield Stop(engine.key, why)


def _why_it_ends(
    engine: EngineView, engines: Sequence[EngineView], now: float, rules: SleepRules
) -> Why | None:
    if engine.state in ("fetching", "starting", "waking"):
        return "operator" if engine.is_unwanted else None
    if engine.state not in ("ready", "sleeping"):
        return None
    if engine.is_broken:
        return "broken"
    if engine.leases or _ends_at(engine, engines, now, rules) > now:
        return None
    return "operator" if engine.is_unwanted else "idle"


def _ends_at(
    engine: EngineView, engines: Sequence[EngineView], now: float, rules: SleepRules
) -> float:
    """When an engine that nobody uses sleeps or ends by itself, and its replicas with it; of a busy
    one, when to look again."""
    is_up = engine.state in ("ready", "sleeping")
    if engine.is_unwanted and is_up and not engine.leases:
        return now
    if engine.keep_s is None or engine.is_pinned or not is_up:
        return math.inf
    if engine.state == "sleeping":
        is_asked = engine.waiting_since is not None
        return math.inf if is_asked else (engine.asleep_at or now) + rules.stay * engine.keep_s
    alike = [e for e in engines if e.state == "ready" and are_replicas(e, engine)] or [engine]
    return engine.keep_s + max(_last_use(e, now) for e in alike)


def _last_use(engine: EngineView, now: float) -> float:
    return now if engine.leases else max(engine.ready_at, engine.last_used_at)


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
