"""What a batch's line is asked of, as the batch sees it: one call, and the ways it may end."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from server.batches.input_lines import BatchLine
from server.batches.store import Batch
from server.ledger.records import UsageRecord

CUT = 499
"""The status of an answer that was ended from outside: it has no body, and its record what it
used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LineAnswer:
    """An answer, and the record that it owes: nobody has written it yet."""

    status: int
    """As over HTTP, or CUT."""
    body: bytes
    """JSON in one line."""
    record: UsageRecord


class TryAgain(Exception):
    """It could not be answered now, and left nothing."""

    def __init__(self, after_s: float, *, is_patient: bool) -> None:
        super().__init__()
        self.after_s = after_s
        self.is_patient = is_patient
        """Whether it is worth asking for as long as the batch has time."""


class BudgetFull(Exception):
    """The key's budget has no room for it beside what is in flight; fit for a client."""


class KeyRefused(Exception):
    """The batch's key is not accepted any more; fit for a client."""


class ServerStops(Exception):
    """It is asked again after the next start."""


class LineHold:
    """By which a running line is ended."""

    def __init__(self) -> None:
        self._leave: Callable[[], None] | None = None

    def watch(self, leave: Callable[[], None] | None) -> None:
        self._leave = leave

    def leave(self) -> None:
        """End it: what it has used is in its answer's record."""
        if self._leave is not None:
            self._leave()


class Ask(Protocol):
    """Asks one line. Raises TryAgain (never where `is_last`), BudgetFull, KeyRefused,
    ServerStops."""

    async def __call__(
        self, batch: Batch, number: int, line: BatchLine, hold: LineHold, *, is_last: bool
    ) -> LineAnswer: ...
