"""What became of each line of a running batch, durable before its usage record is.

One SQLite file a batch, removed when its output files are made. A line's order is: its request
ends, its result is committed here with the record that it owes, the record is committed to the
ledger, the result is marked. A crash before the first commit leaves nothing, so that the line is
asked again; one before the last leaves a record that is owed, which the next start gives to the
ledger. There it has the line's own id, which is recorded once.
"""

import asyncio
import contextlib
import logging
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from server.ledger import sqlite
from server.ledger.records import UsageRecord

log = logging.getLogger("fjord.batches")

RETRY_S: Final = 1.0
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS results (
    line INTEGER PRIMARY KEY,
    is_error INTEGER NOT NULL,
    is_recorded INTEGER NOT NULL,
    record TEXT NOT NULL,
    text BLOB NOT NULL
)
"""
_INSERT: Final = "INSERT OR IGNORE INTO results VALUES (?, ?, 0, ?, ?)"
_MARK: Final = "UPDATE results SET is_recorded = 1 WHERE line = ?"


@dataclass(frozen=True, slots=True, kw_only=True)
class LineResult:
    """`text`: the line of the output or error file, without its end."""

    line: int
    is_error: bool
    record: UsageRecord
    text: bytes


class Results:
    """Of one batch. `open` and `close` block; the rest belongs to the event loop, and lets a thread
    commit what came together in one transaction."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._waiting: list[tuple[LineResult, asyncio.Future[None]]] = []
        self._recorded: list[int] = []
        self._committing: asyncio.Task[None] | None = None
        self._is_told = False
        self._lock = threading.Lock()

    def open(self) -> None:
        """Raises OSError, sqlite3.Error."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
        self._connection = sqlite.connect(self.path)
        self._connection.execute(_SCHEMA)

    def done(self, most_lines: int) -> tuple[bytearray, int, int]:
        """A bit a line that has a result, and how many were answered and how many failed."""
        bits, counts = bytearray(most_lines // 8 + 1), [0, 0]
        for line, is_error in self._connection.execute("SELECT line, is_error FROM results"):
            if line // 8 >= len(bits):
                bits.extend(bytes(line // 8 + 1 - len(bits)))
            bits[line // 8] |= 1 << line % 8
            counts[is_error] += 1
        return bits, counts[0], counts[1]

    def owed(self) -> list[tuple[int, UsageRecord]]:
        """The records that the ledger may not have: those of the last lines before a crash."""
        query = "SELECT line, record FROM results WHERE NOT is_recorded"
        decode = msgspec.json.Decoder(UsageRecord).decode
        return [(line, decode(text)) for line, text in self._connection.execute(query)]

    def in_order(self) -> Iterator[tuple[int, bool, bytes]]:
        """Line, whether it failed, text: all of them by their lines."""
        query = "SELECT line, is_error, text FROM results ORDER BY line"
        for line, is_error, text in self._connection.execute(query):
            yield line, bool(is_error), text

    async def add(self, result: LineResult) -> None:
        """Returns once it is durable: on a full disk, once there is room."""
        future = asyncio.get_running_loop().create_future()
        self._waiting.append((result, future))
        if self._committing is None:
            self._committing = asyncio.create_task(self._commit_all())
        await asyncio.shield(future)

    def recorded(self, line: int) -> None:
        """The ledger has its record; written with the next results."""
        self._recorded.append(line)

    async def _commit_all(self) -> None:
        try:
            while self._waiting:
                together, self._waiting = self._waiting, []
                marks, self._recorded = self._recorded, []
                await self._commit(together, marks)
        finally:
            self._committing = None

    async def _commit(
        self, together: Sequence[tuple[LineResult, "asyncio.Future[None]"]], marks: Sequence[int]
    ) -> None:
        results = [result for result, _ in together]
        while True:
            try:
                await asyncio.to_thread(self._write, results, marks)
            except sqlite3.Error as error:
                if not self._is_told:
                    log.error("a batch's results cannot be written, and wait: %s", error)
                self._is_told = True
                await asyncio.sleep(RETRY_S)
                continue
            self._is_told = False
            for _, future in together:
                if not future.done():
                    future.set_result(None)
            return

    def _write(self, results: Sequence[LineResult], marks: Sequence[int]) -> None:
        encode = msgspec.json.encode
        rows = [(r.line, int(r.is_error), encode(r.record).decode(), r.text) for r in results]
        with self._lock, sqlite.immediate(self._connection):
            self._connection.executemany(_INSERT, rows)
            self._connection.executemany(_MARK, [(line,) for line in marks])

    async def settle(self) -> None:
        """End what commits; on a disk that takes nothing, without it."""
        if self._committing is not None:
            await asyncio.wait([self._committing], timeout=RETRY_S)
        if self._committing is not None:
            self._committing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._committing
        marks, self._recorded = self._recorded, []
        with contextlib.suppress(sqlite3.Error):  # the ledger knows its ids
            await asyncio.to_thread(self._write, (), marks)

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def remove(self) -> None:
        self.close()
        for ending in ("", "-wal", "-shm"):
            self.path.with_name(self.path.name + ending).unlink(missing_ok=True)
