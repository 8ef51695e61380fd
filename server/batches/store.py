"""A batch and its states, as they are stored.

validating -> in_progress -> finalizing -> completed; a file that is wrong: failed. in_progress ->
cancelling -> cancelled; past its window: finalizing -> expired; without a key or a budget that it
may go on with: finalizing -> failed.
"""

from collections.abc import Sequence
from typing import Final, Literal, TypeAlias

import msgspec

from server.batches.database import BatchDatabase
from server.batches.files import OwnedFile, insert_of

BatchStatus: TypeAlias = Literal[
    "validating",
    "failed",
    "in_progress",
    "finalizing",
    "completed",
    "expired",
    "cancelling",
    "cancelled",
]
Ending: TypeAlias = Literal["completed", "failed", "expired", "cancelled"]
OVER: Final = frozenset({"failed", "completed", "expired", "cancelled"})


class LineComplaint(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with a line of the input, or with the whole (no line)."""

    code: str
    message: str
    param: str | None = None
    line: int | None = None


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """One batch. Times in Unix seconds."""

    batch_id: str
    owner: str
    key_id: str
    endpoint: str
    input_file_id: str
    completion_window: str
    created_at: int
    expires_at: int
    status: BatchStatus = "validating"
    ending: Ending = "completed"
    """What it becomes once its files are made."""
    in_progress_at: int | None = None
    finalizing_at: int | None = None
    completed_at: int | None = None
    failed_at: int | None = None
    expired_at: int | None = None
    cancelling_at: int | None = None
    cancelled_at: int | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None
    complaints: tuple[LineComplaint, ...] = ()
    total: int = 0
    completed: int = 0
    failed: int = 0
    metadata: dict[str, str] | None = None
    model: str | None = None
    """As its lines name it."""
    output_expires_s: int | None = None
    """Its files go so long after they were made; None: they stay."""

    @property
    def is_over(self) -> bool:
        return self.status in OVER


_decode = msgspec.json.Decoder(Batch).decode


class BatchStore:
    """All batches. Blocks: call it off the event loop, from any thread."""

    def __init__(self, database: BatchDatabase) -> None:
        self.database = database

    def add(self, batch: Batch, most_open: int) -> bool:
        """False: its owner has as many that are not over as may be, or its file is gone."""
        with self.database.transaction() as connection:
            query = "SELECT count(*) FROM batches WHERE owner = ? AND NOT is_over"
            if connection.execute(query, (batch.owner,)).fetchone()[0] >= most_open:
                return False
            query = (
                "INSERT INTO batches (batch_id, owner, input_file_id, is_over, batch)"
                " SELECT ?, ?, file_id, 0, ? FROM files WHERE file_id = ?"
            )
            values = (batch.batch_id, batch.owner, _encoded(batch), batch.input_file_id)
            return connection.execute(query, values).rowcount == 1

    def save(self, batch: Batch, files: Sequence[OwnedFile] = ()) -> None:
        """What it is now, with the files that were made for it, in one transaction."""
        with self.database.transaction() as connection:
            for file in files:
                connection.execute(*insert_of(file))
            connection.execute(
                "UPDATE batches SET batch = ?, is_over = ? WHERE batch_id = ?",
                (_encoded(batch), int(batch.is_over), batch.batch_id),
            )

    def find(self, batch_id: str, owner: str) -> Batch | None:
        """None: there is none of that owner's."""
        query = "SELECT batch FROM batches WHERE batch_id = ? AND owner = ?"
        row = self.database.read(lambda c: c.execute(query, (batch_id, owner)).fetchone())
        return None if row is None else _decode(row[0])

    def page(self, owner: str, *, after: str | None, limit: int) -> list[Batch] | None:
        """The newest first, at most `limit` + 1; None: there is no such `after`."""
        where, values = "owner = ?", [owner]
        if after is not None:
            if self.find(after, owner) is None:
                return None
            where += " AND seq < (SELECT seq FROM batches WHERE batch_id = ?)"
            values.append(after)
        query = f"SELECT batch FROM batches WHERE {where} ORDER BY seq DESC LIMIT ?"
        rows = self.database.read(lambda c: c.execute(query, (*values, limit + 1)).fetchall())
        return [_decode(row[0]) for row in rows or ()]

    def unfinished(self) -> list[Batch]:
        """The oldest first."""
        query = "SELECT batch FROM batches WHERE NOT is_over ORDER BY seq"
        rows = self.database.read(lambda c: c.execute(query).fetchall())
        return [_decode(row[0]) for row in rows or ()]


def _encoded(batch: Batch) -> str:
    return msgspec.json.encode(batch).decode()
