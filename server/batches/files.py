"""A client's files: written whole or not at all, 0600, counted against their owner's quota.

A name on the disk is an id of ours, never a client's word. A file is there once its row is: what a
crash left without one is removed at the next start.
"""

import contextlib
import os
import re
import threading
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from engines.host.synced import synced
from server.batches.database import BatchDatabase
from server.ids import new_id

FOLDER: Final = "files"
FILE_ID: Final = re.compile(r"file-[0-9a-f]{24}")
LONGEST_NAME: Final = 255
_PART: Final = ".part"


class NoRoom(Exception):
    """The file is larger than one may be, or its owner's files together are: fit for a client."""


class FileInUse(Exception):
    """A batch that is not over reads it: fit for a client."""


class OwnedFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that is here. Times in Unix seconds."""

    file_id: str
    owner: str
    filename: str
    purpose: str
    bytes: int
    created_at: int
    expires_at: int | None = None


class FilePart:
    """A file that is being written. Blocks; `end` or `drop` is called in the end."""

    def __init__(self, store: "FileStore", owner: str) -> None:
        self._store, self.owner = store, owner
        self.file_id = f"file-{new_id(24)}"
        self.bytes = 0
        self.path = store.folder / (self.file_id + _PART)
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._file: BinaryIO = open(descriptor, "wb")  # noqa: SIM115 - closed by end or drop

    def write(self, piece: bytes) -> None:
        """Raises NoRoom, OSError."""
        self._store.claim(self.owner, self.bytes, len(piece))
        self.bytes += len(piece)
        self._file.write(piece)

    def write_unbound(self, piece: bytes) -> None:
        """A batch's own output: refused by no quota, and counted once it is there."""
        self.bytes += len(piece)
        self._file.write(piece)

    def place(self, filename: str, purpose: str, expires_at: int | None = None) -> OwnedFile:
        """On the disk under its own name; it is there for clients once `FileStore.add` has it."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        os.replace(self.path, self._store.folder / self.file_id)
        synced(self._store.folder)
        return OwnedFile(
            file_id=self.file_id,
            owner=self.owner,
            filename=filename,
            purpose=purpose,
            bytes=self.bytes,
            created_at=int(time.time()),
            expires_at=expires_at,
        )

    def drop(self) -> None:
        """Nothing is left of it, unless the store has it. Idempotent."""
        with contextlib.suppress(OSError):  # what was buffered has no room
            self._file.close()
        for path in (self.path, self._store.folder / self.file_id):
            path.unlink(missing_ok=True)


class FileStore:
    """All files. Blocks: call it off the event loop, from any thread."""

    def __init__(self, database: BatchDatabase, most_bytes: int, quota_bytes: int) -> None:
        self.database = database
        self.most_bytes = most_bytes
        """Of one file."""
        self.quota_bytes = quota_bytes
        """Of an owner's together."""
        self.folder = database.data_dir / FOLDER
        self._lock = threading.Lock()
        self._coming: Counter[str] = Counter()
        """Owner -> bytes of what is being written."""
        self._used: dict[str, int] = {}

    def begin(self, owner: str) -> FilePart:
        """Raises OSError."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._remove_over()
        used = self.used_bytes(owner)
        with self._lock:
            self._used[owner] = used
        return FilePart(self, owner)

    def claim(self, owner: str, before: int, more: int) -> None:
        """Raises NoRoom."""
        if before + more > self.most_bytes:
            raise NoRoom(f"A file may have {_size(self.most_bytes)}; this one has more.")
        with self._lock:
            if self._used.get(owner, 0) + self._coming[owner] + more > self.quota_bytes:
                raise NoRoom(
                    f"The files of one owner may have {_size(self.quota_bytes)} together; delete "
                    "some that are not needed any more."
                )
            self._coming[owner] += more

    def over(self, part: FilePart) -> None:
        """It is written, or dropped: what it had claimed is free, or counted by its row."""
        with self._lock:
            self._coming[part.owner] -= part.bytes
            self._used.pop(part.owner, None)
        used = self.used_bytes(part.owner)
        with self._lock:
            self._used[part.owner] = used

    def add(self, file: OwnedFile) -> None:
        with self.database.transaction() as connection:
            connection.execute(*insert_of(file))

    def used_bytes(self, owner: str) -> int:
        query = "SELECT coalesce(sum(bytes), 0) FROM files WHERE owner = ?"
        return self.database.read(lambda c: int(c.execute(query, (owner,)).fetchone()[0])) or 0

    def find(self, file_id: str, owner: str) -> OwnedFile | None:
        """None: there is none of that owner's."""
        if not FILE_ID.fullmatch(file_id):
            return None
        query = "SELECT file FROM files WHERE file_id = ? AND owner = ?"
        row = self.database.read(lambda c: c.execute(query, (file_id, owner)).fetchone())
        file = None if row is None else _decode(row[0])
        return None if file is None or _is_over(file) else file

    def page(
        self, owner: str, *, after: str | None, limit: int, purpose: str | None, ascending: bool
    ) -> list[OwnedFile] | None:
        """At most `limit` + 1, so that one sees whether there are more; None: no such `after`."""
        where, values = ["owner = ?"], [owner]
        if purpose is not None:
            where.append("purpose = ?")
            values.append(purpose)
        if after is not None:
            if self.find(after, owner) is None:
                return None
            sign = ">" if ascending else "<"
            where.append(f"seq {sign} (SELECT seq FROM files WHERE file_id = ?)")
            values.append(after)
        order = "ASC" if ascending else "DESC"
        query = f"SELECT file FROM files WHERE {' AND '.join(where)} ORDER BY seq {order}"
        rows = self.database.read(
            lambda c: c.execute(f"{query} LIMIT ?", (*values, limit + 1)).fetchall()
        )
        files = [_decode(row[0]) for row in rows or ()]
        return [file for file in files if not _is_over(file)]

    def delete(self, file_id: str, owner: str) -> bool:
        """False: there is none. Raises FileInUse."""
        if self.find(file_id, owner) is None:
            return False
        self._remove(file_id)
        self.database.forget_deleted()
        return True

    def _remove(self, file_id: str) -> None:
        with self.database.transaction() as connection:
            query = "SELECT batch_id FROM batches WHERE input_file_id = ? AND NOT is_over"
            user = connection.execute(query, (file_id,)).fetchone()
            if user is not None:
                raise FileInUse(f"The batch {user[0]} reads this file; cancel it first.")
            connection.execute("DELETE FROM files WHERE file_id = ?", (file_id,))
        self.path(file_id).unlink(missing_ok=True)

    def path(self, file_id: str) -> Path:
        return self.folder / file_id

    def sweep(self) -> None:
        """Remove what a crash left without a row, and what is past its time. Before anything is
        written: what is being written has no row yet."""
        if not self.folder.exists():
            return
        self._remove_over()
        names = {file.file_id for file in self._all()}
        for path in self.folder.iterdir():
            if path.name not in names:
                path.unlink(missing_ok=True)

    def _remove_over(self) -> None:
        for file in filter(_is_over, self._all()):
            with contextlib.suppress(FileInUse):
                self._remove(file.file_id)

    def _all(self) -> Iterable[OwnedFile]:
        rows = self.database.read(lambda c: c.execute("SELECT file FROM files").fetchall())
        return (_decode(row[0]) for row in rows or ())


_decode = msgspec.json.Decoder(OwnedFile).decode


def insert_of(file: OwnedFile) -> tuple[str, tuple[str, str, str, int, str]]:
    """The statement that adds its row, with its values."""
    text = msgspec.json.encode(file).decode()
    values = (file.file_id, file.owner, text, file.bytes, file.purpose)
    return "INSERT INTO files (file_id, owner, file, bytes, purpose) VALUES (?, ?, ?, ?, ?)", values


def _is_over(file: OwnedFile) -> bool:
    return file.expires_at is not None and file.expires_at <= time.time()


def _size(count: int) -> str:
    return f"{count / 10**9:g} GB" if count >= 10**8 else f"{count:,} bytes"
