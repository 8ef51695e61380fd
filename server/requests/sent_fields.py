"""What a request's body sets: its fields' names for the log, a value for a refusal."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from server.errors import brief


class SentFields:
    """Of one body; None: nothing of it is known."""

    __slots__ = ("_wire",)

    def __init__(self, wire: BaseModel | None = None) -> None:
        self._wire = wire

    def names(self) -> Sequence[str]:
        """The documented ones; a body's own inventions may hold what nobody should log."""
        wire = self._wire
        return (
            [] if wire is None else sorted(wire.model_fields_set & type(wire).model_fields.keys())
        )

    def value(self, field: str) -> Any:
        """What stands in a field (`text.format`), as it goes back to the client; None: nothing."""
        found: Any = self._wire
        for step in field.split("."):
            found = found.get(step) if isinstance(found, Mapping) else getattr(found, step, None)
        return brief(found.model_dump() if isinstance(found, BaseModel) else found)
