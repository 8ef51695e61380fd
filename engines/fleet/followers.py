"""Replicas that follow the first one of their model: where there is room that nobody waits for."""

from collections.abc import Iterator, Mapping, Sequence

from engines.fleet.actions import Fetch
from engines.fleet.device_memory import DeviceMemory
from engines.fleet.view import EngineView, are_replicas


def follow(
    engines: Sequence[EngineView],
    now: float,
    room: DeviceMemory | None,
    taken: Mapping[int, int],
) -> Iterator[Fetch]:
    """Those to load now. `taken`: bytes by device, what others were promised included. A follower
    makes nobody leave, and never comes alone: its weights are here, and a replica serves or is
    about to."""
    left = dict(taken)
    for engine in engines:
        if engine.retry_at > now or not is_follower(engine, engines):
            continue
        if room is None or engine.need is None:
            yield Fetch(engine.key)
        elif (devices := room.place(engine.need, left)) is not None:
            for device in devices:
                left[device] = left.get(device, 0) + engine.need.on(device)
            yield Fetch(engine.key)


def is_follower(engine: EngineView, engines: Sequence[EngineView]) -> bool:
    """Whether it may load beside a replica of its own."""
    if not engine.group or engine.state not in ("cold", "failed") or engine.is_final:
        return False
    return any(are_replicas(engine, other) and _is_here(other) for other in engines)


def _is_here(engine: EngineView) -> bool:
    if engine.is_unwanted or engine.is_leaving or engine.is_broken:
        return False
    return engine.state in ("starting", "ready") or (
        engine.state == "fetching" and engine.is_fetched
    )
