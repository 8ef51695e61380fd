"""Whether a model has no room for as long as others are pinned: pure, over a snapshot."""

from collections.abc import Sequence

from engines.base import EngineNotLoaded
from engines.fleet.device_memory import DeviceMemory
from engines.fleet.held_memory import taken_by
from engines.fleet.view import EngineView, are_replicas

_STANDING = ("starting", "ready", "falling_asleep", "sleeping", "waking")


def in_the_way(
    engine: EngineView, engines: Sequence[EngineView], room: DeviceMemory | None
) -> list[EngineView]:
    """The pinned engines beside which there is no room for it, whoever else leaves; none where
    there is, or where it fits nowhere at all."""
    if room is None or engine.need is None or not room.can_hold(engine.need):
        return []
    others = [e for e in engines if e.key != engine.key and not are_replicas(e, engine)]
    staying = [e for e in others if e.is_pinned and not e.is_unwanted]
    pinned = [e for e in staying if e.devices and e.state in _STANDING]
    return [] if room.place(engine.need, taken_by(pinned)) is not None else pinned


def refuse_pinned_out(
    alias: str, engine: EngineView, engines: Sequence[EngineView], room: DeviceMemory | None
) -> None:
    """Raises EngineNotLoaded where there are such."""
    if in_the_way(engine, engines, room):
        raise EngineNotLoaded(
            f"Model {alias} has no room: pinned models hold the memory it needs. The server's "
            "operator can unpin one."
        )
