"""An engine's errors, said to another server and raised there."""

from typing import Any, Final

import msgspec

from engines import errors
from engines.errors import (
    EngineBehindDead,
    EngineDead,
    EngineError,
    EngineHung,
    EngineUnavailable,
)

_KNOWN: Final = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, EngineError)
}
_KINDS: Final = frozenset(_KNOWN.values())
MOST_WORDS: Final = 10_000


class WireError(msgspec.Struct, array_like=True, frozen=True):
    name: str
    message: str
    facts: dict[str, Any]
    """Its attributes."""


def told_error(error: Exception) -> WireError:
    """What is no engine's error is a fault of the node's, whose log has it."""
    name = next((kind.__name__ for kind in type(error).__mro__ if kind in _KINDS), None)
    if name is None:
        return WireError("", "", {})
    return WireError(name, str(error)[:MOST_WORDS], vars(error))


def heard_error(told: WireError, node: str) -> Exception:
    """As the node's engine raised it; where that one died, the node did not."""
    kind = _KNOWN.get(told.name)
    if kind is None:
        return EngineUnavailable(f"The server {node} failed; its log says why.", 1.0)
    if issubclass(kind, EngineDead | EngineHung):
        return EngineBehindDead(told.message)
    error = kind.__new__(kind)
    Exception.__init__(error, told.message)
    vars(error).update(told.facts)
    return error
