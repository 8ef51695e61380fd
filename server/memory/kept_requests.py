"""What is kept of requests where a key or an owner has asked for it: a row each, sealed."""

import time
from collections.abc import Sequence
from typing import Final

import msgspec

from server.ledger.database import Database, Row
from server.ledger.periods import DAY_S
from server.ledger.records import ContentMode
from server.memory.errors import NotKept
from server.memory.vault import Vault

MOST_LISTED: Final = 1000


class KeptRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Of one request. Times in Unix seconds."""

    kept_id: str
    request_id: str
    """Its client may have chosen it: two may have one."""
    owner: str
    key_id: str
    at: int
    expires_at: int = 0
    mode: ContentMode
    path: str
    status: int
    content: bytes = b""
    """JSON; empty in a list."""


class KeptRequestStore:
    """All of them. Blocks: off the event loop, from any thread. Raises MemoryTrouble."""

    def __init__(self, vault: Vault, days: float, metadata_days: float) -> None:
        self.vault = vault
        self._days = {"full": days, "metadata": metadata_days, "none": 0.0}

    def keep(self, kept: KeptRequest) -> None:
        """Raises MemoryFull."""
        owners = self.vault.owners
        expires_at = int(time.time() + self._days[kept.mode] * DAY_S)
        with self.vault.transaction() as database:
            sealer = owners.sealer_to_keep(database, kept.owner)
            sealed = sealer.seal(kept.content, "request", kept.owner, kept.kept_id)
            owners.take(database, kept.owner, len(sealed))
            words = (kept.kept_id, kept.request_id, kept.owner, kept.key_id, kept.at, expires_at)
            values = (*words, kept.mode, kept.path, kept.status, len(sealed), sealed)
            database.execute(_INSERT, values)

    def newest(
        self,
        limit: int,
        *,
        owner: str | None,
        key_id: str | None,
        before: int | None,
        behind: str = "",
    ) -> list[KeptRequest]:
        """Without their content. `behind`: also those of the second `before` whose ids come behind
        this one."""
        if not self.vault.is_there:
            return []
        wanted = {"owner = ?": owner, "key_id = ?": key_id}
        given: dict[str, object] = {k: value for k, value in wanted.items() if value is not None}
        where, words = " AND ".join(("expires_at > ?", *given)), [*given.values()]
        if before is not None:
            where += " AND (at < ? OR (at = ? AND kept_id > ?))" if behind else " AND at < ?"
            words += [before, before, behind] if behind else [before]
        sql = f"{_SELECT} WHERE {where} ORDER BY at DESC, kept_id LIMIT ?"
        parameters = (int(time.time()), *words, min(limit, MOST_LISTED))
        with self.vault.transaction() as database:
            return [_from(row) for row in database.query(sql, parameters)]

    def find(self, word: str, owner: str | None) -> KeptRequest:
        """By a request's id, the newest of it, or its own; of that owner (None: of any), opened.
        Raises NotKept."""
        if not self.vault.may_hold(word):
            raise NotKept(word)
        sql = f"{_SELECT_ALL} WHERE (request_id = ? OR kept_id = ?) AND expires_at > ?"
        parameters: tuple[object, ...] = (word, word, int(time.time()))
        if owner is not None:
            sql, parameters = f"{sql} AND owner = ?", (*parameters, owner)
        with self.vault.transaction() as database:
            rows = database.query(f"{sql} ORDER BY at DESC LIMIT 1", parameters)
            if not rows:
                raise NotKept(word)
            found = _from(rows[0])
            sealer = self.vault.owners.sealer(database, found.owner)
            if sealer is None:
                raise NotKept(word)
            content = sealer.open(rows[0][-1], "request", found.owner, found.kept_id)
        return msgspec.structs.replace(found, content=content)

    def remove(self, database: Database, owner: str, kept_id: str) -> None:
        delete = "DELETE FROM memory_requests WHERE kept_id = ? RETURNING bytes"
        freed = sum(row[0] for row in database.query(delete, (kept_id,)))
        self.vault.owners.take(database, owner, -freed)

    def remove_due(self, database: Database, most: int) -> int:
        return self._remove(database, database.query(_DUE, (int(time.time()), most)))

    def remove_of(self, database: Database, owner: str, most: int) -> int:
        return self._remove(database, database.query(_OF, (owner, most)))

    def _remove(self, database: Database, rows: Sequence[Row]) -> int:
        for kept_id, owner in rows:
            self.remove(database, owner, kept_id)
        return len(rows)


_WORDS: Final = "kept_id, request_id, owner, key_id, at, expires_at, mode, path, status"
_SELECT: Final = f"SELECT {_WORDS} FROM memory_requests"
_SELECT_ALL: Final = f"SELECT {_WORDS}, sealed FROM memory_requests"
_INSERT: Final = (
    f"INSERT INTO memory_requests ({_WORDS}, bytes, sealed) VALUES ({', '.join('?' * 11)})"
)
_DUE: Final = "SELECT kept_id, owner FROM memory_requests WHERE expires_at <= ? LIMIT ?"
_OF: Final = "SELECT kept_id, owner FROM memory_requests WHERE owner = ? LIMIT ?"


def _from(row: Row) -> KeptRequest:
    names = _WORDS.split(", ")
    return KeptRequest(**dict(zip(names, row[: len(names)], strict=True)))
