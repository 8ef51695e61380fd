"""One ready engine, and what runs on it."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from engines.base import Engine


@runtime_checkable
class CanBeReluctant(Protocol):
    """An engine that may ask for others to be preferred."""

    @property
    def is_reluctant(self) -> bool: ...


@dataclass(slots=True, eq=False)
class Running:
    """One ready engine and the requests on it. A restart makes a new one, so that a lease which
    outlives its engine cannot be counted on the next."""

    engine: Engine
    ready_at: float
    leases: int = 0
    patient_leases: int = 0
    """Of those, the ones that yield to others."""
    used_at: float = 0.0
    """When the last request ended that does not yield, by the monotonic clock."""
    patient_used_at: float = 0.0
    """When the last one ended that does."""

    @property
    def is_reluctant(self) -> bool:
        """It takes what no replica of it can."""
        return isinstance(self.engine, CanBeReluctant) and self.engine.is_reluctant

    @property
    def last_used_at(self) -> float:
        return max(self.used_at, self.patient_used_at)
