"""The questions of a head and the answers of a machine, held to their forms and sizes."""

from typing import Annotated, Any, Final, TypeVar

import msgspec
from msgspec import Meta

from engines.probing.files import MOST_MODELS, SeenWeights, WantedWeights
from engines.probing.listeners import MOST_PORTS
from engines.probing.reaching import MOST_TARGETS, Number, Port, PortOutcomes, ReachTarget

TELL: Final = "probe-tell"
CLOCK: Final = "probe-clock"
LISTEN: Final = "probe-listen"
REACH: Final = "probe-reach"
TRANSFER: Final = "probe-transfer"
WEIGHTS: Final = "probe-weights"
HANDSHAKE: Final = "probe-handshake"
MOST_FREE: Final = 8
Struct = TypeVar("Struct", bound=msgspec.Struct)


class Listen(msgspec.Struct, frozen=True, kw_only=True):
    """`number` in hex; neither ports nor `free`: stop to listen."""

    number: Number = "0" * 32
    ports: Annotated[tuple[Port, ...], Meta(max_length=MOST_PORTS)] = ()
    free: Annotated[int, Meta(ge=0, le=MOST_FREE)] = 0
    seconds: Annotated[float, Meta(gt=0, le=600)] = 60.0


class Listening(msgspec.Struct, frozen=True, kw_only=True):
    """Of each port why not, "": it listens; and the free ones that the system chose."""

    ports: Annotated[tuple[Annotated[str, Meta(max_length=80)], ...], Meta(max_length=MOST_PORTS)]
    free: Annotated[tuple[Port, ...], Meta(max_length=MOST_FREE)]


class TryPorts(msgspec.Struct, frozen=True, kw_only=True):
    """Try them all."""

    targets: Annotated[tuple[ReachTarget, ...], Meta(max_length=MOST_TARGETS)]


class ReachedAll(msgspec.Struct, frozen=True, kw_only=True):
    """In the order of the targets."""

    reached: Annotated[tuple[PortOutcomes, ...], Meta(max_length=MOST_TARGETS)]


class Transfer(msgspec.Struct, frozen=True, kw_only=True):
    """Take bytes from its first port."""

    target: ReachTarget


class TimeTold(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds since 1970."""

    now: float


class LookFor(msgspec.Struct, frozen=True, kw_only=True):
    """Weights of models."""

    models: Annotated[tuple[WantedWeights, ...], Meta(max_length=MOST_MODELS)]


class SeenAll(msgspec.Struct, frozen=True, kw_only=True):
    """In the order of the models."""

    seen: Annotated[tuple[SeenWeights, ...], Meta(max_length=MOST_MODELS)]


class Shaken(msgspec.Struct, frozen=True, kw_only=True):
    """A handshake's time."""

    seconds: Annotated[float, Meta(ge=0, le=3600)]


def read(said: Any, form: type[Struct]) -> Struct:
    """What another machine says. Raises ValueError for what has not that form."""
    try:
        return msgspec.convert(said, form)
    except (OverflowError, RecursionError) as error:
        raise ValueError(type(error).__name__) from None
