"""One batch's life: its file checked, its lines asked, its outputs made. Goes on after a crash."""

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from engines.host.interpreter_turns import in_short_turns
from server.batches.asked_lines import AskedLines, LineParts
from server.batches.checking import Checked, LineBounds, checked
from server.batches.files import FileStore
from server.batches.input_lines import NotALine
from server.batches.outputs import make_outputs
from server.batches.results import Results
from server.batches.store import Batch, BatchStore, Ending, LineComplaint

log = logging.getLogger("fjord.batches")

FOLDER: Final = "batches"
DISK_RETRY_S: Final = 5.0


class ModelRefused(Exception):
    """The key may not use the model that the file names, or it is for something else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchParts:
    """What every batch needs."""

    files: FileStore
    store: BatchStore
    lines: LineParts
    alias_of: Callable[[Batch, str], str]
    """The batch and the name of a model -> its alias. Raises ModelRefused."""
    most_lines: int


class BatchRun:
    """Belongs to the event loop."""

    def __init__(self, batch: Batch, parts: BatchParts) -> None:
        self._batch, self._parts = batch, parts
        self._results: Results | None = None
        self._lines: AskedLines | None = None
        self._halted = asyncio.Event()
        self._saving = asyncio.Lock()
        self._expires_at = time.monotonic() + batch.expires_at - time.time()
        """By the clock that nobody sets: the wall's counts when a server starts."""

    @property
    def batch(self) -> Batch:
        """As it stands now."""
        batch, lines = self._batch, self._lines
        if lines is None or batch.is_over:
            return batch
        return replace(batch, completed=lines.completed, failed=lines.failed)

    async def run(self) -> None:
        """Until it is over, or the server stops. What a full disk refuses is tried again."""
        while not (self._batch.is_over or self._halted.is_set()):
            try:
                await self._step()
            except (OSError, sqlite3.Error) as error:
                log.error("batch %s waits for the disk: %s", self._batch.batch_id, error)
                await self._pause(DISK_RETRY_S)
        if self._results is not None:
            await self._results.settle()
            await asyncio.to_thread(self._results.close)

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._halted.wait(), seconds)
        except TimeoutError:
            return

    async def _step(self) -> None:
        match self._batch.status:
            case "validating":
                await self._check()
            case "in_progress":
                await self._answer()
            case _:
                await self._finish()

    def end(self, ending: Ending, complaint: LineComplaint | None = None) -> None:
        """No further line is asked, and those that run are cut. Once it ends, nothing happens."""
        if self._batch.status not in ("validating", "in_progress"):
            return
        now = int(time.time())
        is_cancelled = ending == "cancelled"
        self._batch = replace(
            self._batch,
            ending=ending,
            complaints=self._batch.complaints if complaint is None else (complaint,),
            status="cancelling" if is_cancelled else "finalizing",
            cancelling_at=now if is_cancelled else None,
            finalizing_at=None if is_cancelled else now,
        )
        if self._lines is not None:
            self._lines.stop(is_cut=True)

    def halt(self) -> None:
        """The server stops: nothing new is asked; what runs is the drain's."""
        self._halted.set()
        if self._lines is not None:
            self._lines.stop(is_cut=False)

    async def save(self) -> None:
        """Make durable what it is now."""
        async with self._saving:
            await asyncio.to_thread(self._parts.store.save, self.batch)

    async def _check(self) -> None:
        batch, folder = self._batch, self._folder()
        folder.mkdir(mode=0o700, exist_ok=True)
        bounds = LineBounds(
            endpoint=batch.endpoint,
            most_bytes=self._parts.lines.most_line_bytes,
            most_lines=self._parts.most_lines,
        )
        scratch, path = folder / f"{batch.batch_id}.ids", self._input_path()
        found = await in_short_turns(checked, path, scratch, bounds)
        self._take(found)
        await self.save()

    def _take(self, found: Checked) -> None:
        now, batch = int(time.time()), self._batch
        if batch.status != "validating":  # cancelled meanwhile
            self._batch = replace(batch, total=found.total)
            return
        if not found.complaints:
            try:
                self._parts.alias_of(batch, found.model or "")
            except ModelRefused as refusal:
                found.complain(NotALine("model_not_found", str(refusal), "model"), None)
        if found.complaints:
            complaints = tuple(found.complaints)
            self._batch = replace(batch, status="failed", failed_at=now, complaints=complaints)
        else:
            self._batch = replace(
                batch,
                status="in_progress",
                in_progress_at=now,
                total=found.total,
                model=found.model,
            )

    async def _answer(self) -> None:
        lines, _ = await self._open()
        expiry = asyncio.get_running_loop().call_later(
            max(0.0, self._expires_at - time.monotonic()), self.end, "expired"
        )
        try:
            if self._batch.status == "in_progress" and not self._halted.is_set():
                await lines.ask(self._input_path(), self._alias())
        finally:
            expiry.cancel()
        if lines.is_interrupted:
            await self._halted.wait()  # at the drain's end
        if self._halted.is_set():
            return
        if self._batch.status == "in_progress":
            now = int(time.time())
            self._batch = replace(self._batch, status="finalizing", finalizing_at=now)
        await self.save()

    def _alias(self) -> str:
        try:
            return self._parts.alias_of(self._batch, self._batch.model or "")
        except ModelRefused:
            return ""  # each line says why

    async def _open(self) -> tuple[AskedLines, Results]:
        """Take up what is there already."""
        if self._results is None:
            results = Results(self._folder() / f"{self._batch.batch_id}.sqlite3")
            await asyncio.to_thread(results.open)
            self._results = results
        if self._lines is None:
            lines = AskedLines(
                self._parts.lines,
                self._results,
                now=lambda: self._batch,
                give_up=lambda complaint: self.end("failed", complaint),
            )
            await lines.take_up()
            self._lines = lines
        return self._lines, self._results

    async def _finish(self) -> None:
        _, results = await self._open()
        parts, before = self._parts, self._batch
        batch, files = await in_short_turns(
            make_outputs, before, results, parts.files, parts.lines.most_line_bytes
        )
        over = replace(batch, status=batch.ending, **{f"{batch.ending}_at": int(time.time())})
        try:
            async with self._saving:
                await asyncio.to_thread(parts.store.save, over, files)
        except BaseException:
            for file in files:
                parts.files.path(file.file_id).unlink(missing_ok=True)
            raise
        self._batch, self._results = over, None
        await asyncio.to_thread(results.remove)

    def _folder(self) -> Path:
        return self._parts.files.database.data_dir / FOLDER

    def _input_path(self) -> Path:
        return self._parts.files.path(self._batch.input_file_id)
