"""What an engine waits for that is not on this machine; an engine need not wait for anything."""

from typing import Protocol, runtime_checkable

from engines.base import Engine


@runtime_checkable
class Waits(Protocol):
    """An engine that needs others than this machine."""

    @property
    def waits_for(self) -> str | None:
        """In words, `waits for …`; None: nothing now."""

    async def others_here(self) -> None:
        """Returns once it may start: before that it is given no memory, and hinders nobody. Raises
        EngineUnavailable where it never will with what is there."""


def waiting_of(engine: Engine | Waits | None) -> str | None:
    return engine.waits_for if isinstance(engine, Waits) else None
