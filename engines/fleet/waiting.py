"""What an engine's start waits for that is not on this machine; an engine need not tell it."""

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from engines.base import Engine

if TYPE_CHECKING:
    from engines.fleet.steps import StepFailure


@runtime_checkable
class Waits(Protocol):
    """An engine that needs others than this machine."""

    @property
    def waits_for(self) -> str | None:
        """In words, `waits for …`; None: nothing now."""


def waiting_of(engine: Engine | None) -> str | None:
    return engine.waits_for if isinstance(engine, Waits) else None


def with_waiting(failure: "StepFailure | None", engine: Engine) -> "StepFailure | None":
    """A failure, and what the start still waited for then."""
    waits = waiting_of(engine)
    if failure is None or waits is None:
        return failure
    return replace(failure, reason=f"{failure.reason}: it {waits}")
