"""A batch's lines while they are asked: so many at once, each kept and recorded once."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from server.batches.asking import (
    CUT,
    Ask,
    BudgetFull,
    KeyRefused,
    LineAnswer,
    LineHold,
    ServerStops,
    TryAgain,
)
from server.batches.input_lines import BatchLine, RawLine, raw_lines, read_line
from server.batches.outputs import CUT_SHORT, UNASKED, answer_text, error_text
from server.batches.results import LineResult, Results
from server.batches.seats import Seats
from server.batches.store import Batch, LineComplaint
from server.ledger.errors import DuplicateRecord, LedgerError
from server.ledger.records import UsageRecord

log = logging.getLogger("fjord.batches")

ATTEMPTS: Final = 10
"""Of a line whose model fails; one that is only busy is asked for as long as there is time."""
_READ_AT_ONCE: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class LineParts:
    """What lines need of their server."""

    ask: Ask
    close_record: Callable[[UsageRecord], Awaitable[None]]
    seats: Seats
    most_line_bytes: int


class AskedLines:
    """Of one running batch. Belongs to the event loop. `now` is the batch as it stands, `give_up`
    is told why it cannot go on."""

    def __init__(
        self,
        parts: LineParts,
        results: Results,
        now: Callable[[], Batch],
        give_up: Callable[[LineComplaint], None],
    ) -> None:
        self._parts, self._results, self._now, self._give_up = parts, results, now, give_up
        self.completed = self.failed = 0
        self.is_interrupted = False
        """The server drains: lines are left that the next one asks."""
        self._done = bytearray()
        self._is_over = asyncio.Event()
        self._feeder: asyncio.Task[None] | None = None
        self._lines: set[asyncio.Task[None]] = set()
        self._holds: set[LineHold] = set()
        self._line_ended = asyncio.Event()

    async def take_up(self) -> None:
        """Count what is there already, and give the ledger what a crash kept from it."""
        self._done, self.completed, self.failed = await asyncio.to_thread(
            self._results.done, self._now().total
        )
        for number, record in await asyncio.to_thread(self._results.owed):
            await self._record(number, record)

    async def ask(self, path: Path, alias: str) -> None:
        """Every line of the file that has no result; returns when none runs any more."""
        self._feeder = asyncio.ensure_future(self._feed(path, alias))
        try:
            with contextlib.suppress(asyncio.CancelledError):
                await self._feeder
            while self._lines:
                await asyncio.wait(self._lines)
        finally:
            self._feeder.cancel()

    def stop(self, *, is_cut: bool) -> None:
        """Nothing new is asked. `is_cut`: what runs is ended, too."""
        self._is_over.set()
        if self._feeder is not None:
            self._feeder.cancel()
        for hold in tuple(self._holds) if is_cut else ():
            hold.leave()

    async def _feed(self, path: Path, alias: str) -> None:
        with await asyncio.to_thread(open, path, "rb") as file:
            lines = raw_lines(file, self._parts.most_line_bytes)
            while some := await asyncio.to_thread(self._unanswered, lines):
                for raw in some:
                    await self._parts.seats.take(alias)
                    task = asyncio.ensure_future(self._line(raw, alias))
                    self._lines.add(task)
                    task.add_done_callback(self._lines.discard)

    def _unanswered(self, lines: Iterator[RawLine]) -> list[RawLine]:
        """The next few that have no result; runs in a thread."""
        return list(islice((raw for raw in lines if not self._has(raw.number)), _READ_AT_ONCE))

    def _has(self, number: int) -> bool:
        return number // 8 < len(self._done) and bool(self._done[number // 8] >> number % 8 & 1)

    async def _line(self, raw: RawLine, alias: str) -> None:
        try:
            line = read_line(raw.text or b"")
            answer = await self._answered(raw.number, line)
            if answer is not None:
                await self._keep(raw.number, line, answer)
        except Exception:
            log.exception("line %d of batch %s failed", raw.number, self._now().batch_id)
            self._end("internal_error", "Internal error; the server's log says more.", raw.number)
        finally:
            self._parts.seats.give_back(alias)
            self._line_ended.set()
            self._line_ended = asyncio.Event()

    async def _answered(self, number: int, line: BatchLine) -> LineAnswer | None:
        """None: it is not to be asked any more, or not by this process."""
        attempts = 0
        while not self._is_over.is_set():
            attempts += 1
            try:
                return await self._asked(number, line, is_last=attempts >= ATTEMPTS)
            except TryAgain as again:
                attempts -= again.is_patient
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._is_over.wait(), again.after_s)
            except BudgetFull as full:
                if self._holds:  # what is in flight holds more than it will use
                    await self._line_ended.wait()
                else:
                    self._end("budget_exceeded", str(full), number)
            except KeyRefused as refusal:
                self._end("invalid_api_key", str(refusal), number)
            except ServerStops:
                self.is_interrupted = True
                self.stop(is_cut=False)
        return None

    async def _asked(self, number: int, line: BatchLine, *, is_last: bool) -> LineAnswer:
        hold = LineHold()
        self._holds.add(hold)
        try:
            return await self._parts.ask(self._now(), number, line, hold, is_last=is_last)
        finally:
            self._holds.discard(hold)

    def _end(self, code: str, message: str, number: int) -> None:
        self._give_up(LineComplaint(code=code, message=message, line=number))

    async def _keep(self, number: int, line: BatchLine, answer: LineAnswer) -> None:
        """The result first, then its record: results.py says why."""
        is_error = answer.status != 200
        text = self._text(number, line, answer)
        result = LineResult(line=number, is_error=is_error, record=answer.record, text=text)
        await self._results.add(result)
        self.failed += is_error
        self.completed += not is_error
        await self._record(number, answer.record)

    def _text(self, number: int, line: BatchLine, answer: LineAnswer) -> bytes:
        batch = self._now()
        if answer.status == CUT:
            code = UNASKED.get(batch.ending, UNASKED["cancelled"])[0]
            return error_text(batch, number, line.custom_id, code, CUT_SHORT)
        request_id = answer.record.record_id
        return answer_text(batch, number, line.custom_id, answer.status, request_id, answer.body)

    async def _record(self, number: int, record: UsageRecord) -> None:
        try:
            await self._parts.close_record(record)
        except DuplicateRecord:
            pass  # it was written before a crash
        except LedgerError as error:
            log.warning("record %s is owed: %s", record.record_id, error)
            return
        self._results.recorded(number)
