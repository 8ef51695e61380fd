"""The kinds of limits of a level that hold for a whole site, and what a node and its site tell each
other of them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import msgspec

LimitKind: TypeAlias = Literal["requests", "tokens", "slots"]
UNKNOWN_NODES = 2**31
"""Of a site that was not met yet: a node then has one of each limit."""
GONE_S = 10.0
"""A node that was silent for so long is gone, and goes on with no more than an equal part; ..."""
FREED_S = 70.0
"""... what it had counts for a minute more."""
MUCH = 8
"""A part of a limit that is given back at once is larger than its eighth."""


class NodeCount(msgspec.Struct, kw_only=True):
    """What a node used of one limit."""

    level_id: str
    kind: LimitKind
    most: int
    """The limit, as this node knows it."""
    used: int
    cap: int
    """What the node keeps to until it is told its next share."""
    busy: bool
    """Whether it was asked for in the last seconds."""
    ends_s: float | None
    """Until the oldest of `used` is over; None: nobody knows."""


@dataclass(frozen=True, slots=True)
class SiteAnswer:
    """What the site told a node."""

    nodes: int
    is_settled: bool
    """False: not all know of this node yet, or it does not know of all."""
    is_drained: bool
    is_alone: bool
    """No other node has anything of any limit."""
    shares: list[tuple[str, LimitKind, int, int, int, float | None]]
    """Level, kind, limit, share; used elsewhere, and seconds until the oldest of that is over."""


def answer_of(told: Any) -> SiteAnswer:
    return SiteAnswer(**told)


def standing(limit: int, nodes: int) -> int:
    """What a node may use of a limit that it was told no share of."""
    return max(min(limit, 1), limit // max(nodes, 1))  # 0: all have left, this one too


def gives_back(counts: Iterable[NodeCount], nodes: int, answer: SiteAnswer) -> bool:
    """Whether a node keeps to much less from now on than the site knows: others can have it once
    the node has said so."""
    kept = {(count.level_id, count.kind): count.cap for count in counts}
    return any(
        kept.get((level_id, kind), standing(most, nodes)) - max(0, cap) > most // MUCH
        for level_id, kind, most, cap, _, _ in answer.shares
    )
