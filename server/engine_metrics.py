"""What /metrics tells of each engine: state, requests, loads, memory."""

from collections.abc import Callable, Iterable, Iterator
from typing import Final, get_args

from engines.fleet.device_memory import HOST
from engines.fleet.sleep_state import SleepStatus
from engines.fleet.status import EngineStatus
from engines.fleet.view import State
from server.engine_families import Described, EngineFamilies, Sample

_GAUGES: Final[Described] = {
    "state": ("1 for the state an engine is in.", ("state",)),
    "requests": ("Requests on an engine.", ()),
    "waiting_requests": ("Requests that wait for an engine.", ()),
    "pinned": ("1 where an engine never makes room for another.", ()),
    "planned_bytes": (
        "Planned for an engine, of each card it stands on, or host; asleep, what it keeps.",
        ("card",),
    ),
    "measured_bytes": ("Seen to be taken by an engine, of all its cards.", ()),
    "asleep_bytes": ("Of its weights, in the machine's memory for its sleep.", ()),
    "last_used_timestamp_seconds": ("When its last request ended; now while one runs.", ()),
}
_COUNTERS: Final[Described] = {
    "restarts": ("Times a broken engine was replaced.", ()),
    "loads": ("Times an engine became ready.", ()),
    "unloads": (
        "Times an engine was ended: broken, idle, operator, room.",
        ("reason",),
    ),
    "sleeps": ("Times an engine gave its cards' memory back and kept its process.", ()),
    "wakes": ("Times an engine served again after its sleep.", ()),
    "failed_sleeps": ("Times an engine was stopped because it did not fall asleep.", ()),
    "failed_wakes": (
        "Times an engine was stopped because it did not wake, or answered otherwise.",
        (),
    ),
    "turn_wait_seconds": ("Time that a fetched engine waited for its turn to load.", ()),
}


def engine_families(statuses: Callable[[], Iterable[EngineStatus]]) -> EngineFamilies:
    return EngineFamilies(statuses, _GAUGES, _COUNTERS, _samples)


def _samples(engine: EngineStatus) -> Iterator[Sample]:
    for state in get_args(State):
        yield "state", (state,), float(engine.state == state)
    yield "requests", (), engine.leases
    yield "waiting_requests", (), engine.waiting
    yield "pinned", (), float(engine.is_pinned)
    yield "restarts", (), engine.restarts
    yield "loads", (), engine.loads
    yield "turn_wait_seconds", (), engine.turn_wait_s
    yield from _sleep_samples(engine.sleep)
    for why, count in engine.unloads.items():
        yield "unloads", (why,), count
    if engine.used_at is not None:
        yield "last_used_timestamp_seconds", (), engine.used_at
    if engine.measured_bytes is not None:
        yield "measured_bytes", (), engine.measured_bytes
    if engine.need is not None:
        for device in engine.devices:
            card = "host" if device == HOST else str(device)
            yield "planned_bytes", (card,), engine.held_bytes(device)


def _sleep_samples(sleep: SleepStatus) -> Iterator[Sample]:
    yield "asleep_bytes", (), sleep.host_bytes
    yield "sleeps", (), sleep.sleeps
    yield "wakes", (), sleep.wakes
    yield "failed_sleeps", (), sleep.failed_sleeps
    yield "failed_wakes", (), sleep.failed_wakes
