"""What pins make impossible: a pinned engine makes room for no other, so it is in every turn."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from engines.planning.packing import Demand, Room, place


@dataclass(frozen=True, slots=True, kw_only=True)
class Pins:
    """Engines by their keys, in the order in which they were given."""

    clashing: tuple[str, ...] = ()
    """The pinned ones, where they do not fit together: whichever loads first keeps others out."""
    kept_out: tuple[str, ...] = ()
    """Those that have no room beside the pinned ones, whoever else leaves."""


def pins_of(demands: Sequence[Demand], pinned: Collection[str], room: Room) -> Pins:
    """Each demand must fit alone."""
    staying = [demand for demand in demands if demand.key in pinned]
    if place(staying, room) is None:
        return Pins(clashing=tuple(demand.key for demand in staying))
    others = [demand for demand in demands if demand.key not in pinned]
    out = [each.key for each in others if staying and place([*staying, each], room) is None]
    return Pins(kept_out=tuple(out))
