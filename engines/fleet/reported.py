"""One engine of the fleet -> how operators see it."""

from typing import Literal

from engines.fleet.engine_state import ManagedEngine
from engines.fleet.status import EngineStatus
from engines.fleet.waiting import waiting_of
from engines.stats import EngineStats, HasStats

_COMING = ("fetching", "starting")


def status_of(managed: ManagedEngine) -> EngineStatus:
    return EngineStatus(
        key=managed.spec.key,
        kind=managed.spec.kind,
        source=managed.spec.source,
        aliases=managed.aliases,
        state="stopping" if managed.is_broken else managed.state,
        since=managed.since,
        reason=managed.reason,
        waits_for=waiting_of(managed.engine) if managed.state in _COMING else None,
        leases=managed.current.leases if managed.current else 0,
        waiting=len(managed.replicas.waiters) if managed.is_first else 0,
        restarts=managed.restarts,
        is_preloaded=managed.keep_ready,
        is_hopeless=managed.is_hopeless,
        stats=_stats(managed),
        command=_command(managed),
        need=managed.need,
        measured_bytes=managed.measured_bytes if managed.current else None,
        kv_bytes=managed.kv_bytes if managed.current else None,
        devices=managed.devices,
        used_at=managed.used_at(),
        is_pinned=managed.is_pinned,
        keep_s=managed.keep_s,
        replica=managed.spec.replica,
        is_first=managed.is_first,
        closed=frozenset(managed.closed),
        loads=managed.loads,
        unloads=dict(managed.unloads),
        turn_wait_s=managed.turn_wait_s,
        sleep=managed.sleep.status(),
    )


def _command(managed: ManagedEngine) -> Literal["load", "unload", "sleep"] | None:
    if managed.called_at is not None:
        return "load"
    if managed.sleep.is_ordered:
        return "sleep"
    return "unload" if managed.is_unwanted else None


def _stats(managed: ManagedEngine) -> EngineStats | None:
    engine = managed.current.engine if managed.current else None
    return engine.stats() if isinstance(engine, HasStats) else None
