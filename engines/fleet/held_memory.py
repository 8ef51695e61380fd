"""What engines hold of each device: pure, over a snapshot of them."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from engines.fleet.device_memory import HOST, asleep_on
from engines.fleet.view import EngineView


def held_by(engine: EngineView) -> dict[int, int]:
    """device -> bytes. On its way to sleep or out of it an engine may hold its weights twice."""
    held: dict[int, int] = {}
    need = engine.need
    for device in engine.devices if need is not None else ():
        assert need is not None
        if engine.is_asleep and device != HOST:
            held[asleep_on(device)] = need.asleep_bytes_each
        else:
            held[device] = need.on(device)
    if weights := engine.host_weights_bytes:
        held[HOST] = held.get(HOST, 0) + weights
    return held


def taken_by(engines: Iterable[EngineView]) -> dict[int, int]:
    """device -> bytes of the engines that stand somewhere."""
    taken: dict[int, int] = {}
    for engine in engines:
        for device, held in held_by(engine).items():
            taken[device] = taken.get(device, 0) + held
    return taken


def without(taken: Mapping[int, int], gone: Iterable[EngineView]) -> dict[int, int]:
    """What is taken once `gone` are gone."""
    freed = taken_by(gone)
    return {device: used - freed.get(device, 0) for device, used in taken.items()}


def with_more(taken: Mapping[int, int], more: Iterable[EngineView]) -> dict[int, int]:
    """What is taken once `more` stand there, too."""
    added = taken_by(more)
    return {d: taken.get(d, 0) + added.get(d, 0) for d in {**taken, **added}}


def once_settled(taken: Mapping[int, int], going: Iterable[EngineView]) -> dict[int, int]:
    """What is taken once each of `going` is gone, or asleep where that is its way."""
    going = list(going)
    sleepers = [replace(e, state="sleeping") for e in going if e.state == "falling_asleep"]
    return with_more(without(taken, going), sleepers)
