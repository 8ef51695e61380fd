"""All batches of this server: begun, gone on with after a start, cancelled."""

import asyncio
import logging
from collections.abc import Iterable
from pathlib import Path

from server.batches.batch_run import FOLDER, BatchParts, BatchRun
from server.batches.store import Batch

log = logging.getLogger("fjord.batches")

MOST_OPEN = 100
"""Batches of one owner that are not over."""
STOP_S = 10.0


class TooManyBatches(Exception):
    """Their owner has as many that are not over as may be; fit for a client."""


class NotCancellable(Exception):
    """It is over already; fit for a client."""


class BatchRunner:
    """Belongs to the event loop."""

    def __init__(self, parts: BatchParts) -> None:
        self.parts = parts
        self._runs: dict[str, BatchRun] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Go on with what is not over. A disk that cannot be read stops the start."""
        if self.parts.store.database.is_there:
            for batch in await asyncio.to_thread(self._found):
                self._begin(batch)

    def _found(self) -> list[Batch]:
        self.parts.files.sweep()
        batches = self.parts.store.unfinished()
        folder = self.parts.store.database.data_dir / FOLDER
        _remove_others(folder, (batch.batch_id for batch in batches))
        return batches

    async def stop(self) -> None:
        """After the drain: what it cut is asked again after the next start."""
        for run in self._runs.values():
            run.halt()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=STOP_S)
            for task in late:
                task.cancel()
        await asyncio.to_thread(self.parts.store.database.close)

    async def submit(self, batch: Batch) -> None:
        """Raises TooManyBatches, OSError, sqlite3.Error."""
        if not await asyncio.to_thread(self.parts.store.add, batch, MOST_OPEN):
            raise TooManyBatches(
                f"An owner may have {MOST_OPEN} batches that are not over; or the file is gone."
            )
        self._begin(batch)

    def _begin(self, batch: Batch) -> None:
        run = self._runs[batch.batch_id] = BatchRun(batch, self.parts)
        task = asyncio.create_task(self._until_over(run), name=batch.batch_id)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _until_over(self, run: BatchRun) -> None:
        batch_id = run.batch.batch_id
        try:
            await run.run()
        except Exception:
            log.exception("batch %s stopped; it goes on after the next start", batch_id)
        finally:
            if run.batch.is_over:
                del self._runs[batch_id]
                log.info("batch %s is %s", batch_id, run.batch.status)

    async def find(self, batch_id: str, owner: str) -> Batch | None:
        batch = await asyncio.to_thread(self.parts.store.find, batch_id, owner)
        return None if batch is None else self._now(batch)

    async def page(self, owner: str, after: str | None, limit: int) -> list[Batch] | None:
        """As BatchStore.page."""
        batches = await asyncio.to_thread(
            lambda: self.parts.store.page(owner, after=after, limit=limit)
        )
        return None if batches is None else [self._now(batch) for batch in batches]

    async def cancel(self, batch_id: str, owner: str) -> Batch | None:
        """None: there is none. Raises NotCancellable."""
        batch = await self.find(batch_id, owner)
        run = self._runs.get(batch_id)
        if batch is None or batch.status == "cancelling":
            return batch
        if run is None or batch.status not in ("validating", "in_progress"):
            raise NotCancellable(f"This batch is {batch.status}: there is nothing to cancel.")
        run.end("cancelled")
        await run.save()
        return run.batch

    def _now(self, batch: Batch) -> Batch:
        run = self._runs.get(batch.batch_id)
        return batch if run is None else run.batch


def _remove_others(folder: Path, batch_ids: Iterable[str]) -> None:
    """Results of batches that are over: the crash came between their end and this."""
    known = set(batch_ids)
    for path in folder.iterdir() if folder.exists() else ():
        if path.name.partition(".")[0] not in known:
            path.unlink(missing_ok=True)
