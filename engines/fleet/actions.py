"""What the fleet can do with an engine, named by its key."""

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Why: TypeAlias = Literal["broken", "idle", "operator", "room"]
"""An engine sleeps or ends because it broke, nobody used it for long, an operator says so, or
another needs its memory."""


@dataclass(frozen=True, slots=True)
class Fetch:
    key: str


@dataclass(frozen=True, slots=True)
class Start:
    key: str
    devices: tuple[int, ...] = ()
    """None are named where nothing is planned."""


@dataclass(frozen=True, slots=True)
class Leave:
    """It takes no new request: another waits for its memory."""

    key: str


@dataclass(frozen=True, slots=True)
class Stay:
    """Nobody waits for its memory any more."""

    key: str


@dataclass(frozen=True, slots=True)
class Stop:
    key: str
    why: Why = field(default="room", compare=False)


@dataclass(frozen=True, slots=True)
class Sleep:
    key: str
    level: int
    why: Why = field(default="room", compare=False)


@dataclass(frozen=True, slots=True)
class Wake:
    key: str


@dataclass(frozen=True, slots=True)
class Displace:
    """A preload without room: it loads once it is asked for."""

    key: str


@dataclass(frozen=True, slots=True)
class Refuse:
    """It needs more than there is, whoever leaves."""

    key: str


Action: TypeAlias = Fetch | Start | Leave | Stay | Stop | Sleep | Wake | Displace | Refuse
