"""What an engine's start waits for that is not on this machine; an engine need not tell it."""

from typing import Protocol, runtime_checkable

from engines.base import Engine


@runtime_checkable
class Waits(Protocol):
    """An engine that needs others than this machine."""

    @property
    def waits_for(self) -> str | None:
        """In words, `waits for …`; None: nothing now."""


def waiting_of(engine: Engine | None) -> str | None:
    return engine.waits_for if isinstance(engine, Waits) else None
