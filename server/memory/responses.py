"""A kept response: its head, its turn (what came in and went out), its events, and chains of them.

A turn holds what a response added; what it was asked beside that stands in its ancestors' turns,
which are read by `previous_id`.
"""

import time
from collections.abc import Sequence
from typing import Final, Literal, TypeAlias

import msgspec

from server.ledger.database import Database, Row
from server.memory.errors import NotKept, TooLong
from server.memory.owners import Owners
from server.memory.sealing import Sealer
from server.memory.vault import Vault

ResponseState: TypeAlias = Literal[
    "queued", "in_progress", "completed", "incomplete", "failed", "cancelled"
]
OPEN: Final = frozenset({"queued", "in_progress"})
MOST_TURNS: Final = 1000
MOST_CONTEXT_BYTES: Final = 32 * 2**20
"""Of a chain, or a conversation: what a request may read of what came before."""
PART_BYTES: Final = 2**20
_COLUMNS: Final = (
    "response_id, owner, created_at, expires_at, previous_id, conversation_id, is_background,"
    " status, depth, context_bytes, node, beat_at, head, turn"
)


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """What a response added to its conversation: items as JSON, in order."""

    input: tuple[msgspec.Raw, ...] = ()
    output: tuple[msgspec.Raw, ...] = ()


class KeptResponse(msgspec.Struct, frozen=True, kw_only=True):
    """One of them. Times in Unix seconds."""

    response_id: str
    owner: str
    created_at: int
    expires_at: int
    status: ResponseState
    is_background: bool = False
    previous_id: str | None = None
    conversation_id: str | None = None
    depth: int = 1
    """Turns of its chain, its own among them."""
    context_bytes: int = 0
    """Of their items."""
    node: str = ""
    """Which server process runs it."""
    beat_at: int = 0
    """When that one last said so."""
    head: bytes
    """The response as JSON, without its output."""
    turn: Turn

    @property
    def is_over(self) -> bool:
        return self.status not in OPEN


class EventPart(msgspec.Struct, frozen=True, kw_only=True):
    """Some events of a response's stream, whole ones."""

    part: int
    first_number: int
    events: bytes


_turn = msgspec.json.Decoder(Turn).decode


class ResponseStore:
    """All of them. Blocks: off the event loop, from any thread. Raises MemoryTrouble."""

    def __init__(self, vault: Vault) -> None:
        self.vault = vault

    @property
    def owners(self) -> Owners:
        return self.vault.owners

    def find(self, response_id: str, owner: str) -> KeptResponse:
        """Raises NotKept, also for another owner's."""
        if not self.vault.is_there:
            raise NotKept(response_id)
        with self.vault.transaction() as database:
            return self.found(database, response_id, owner)

    def found(self, database: Database, response_id: str, owner: str) -> KeptResponse:
        query = f"SELECT {_COLUMNS} FROM memory_responses WHERE response_id = ? AND owner = ?"
        rows = database.query(query, (response_id, owner))
        sealer = self.owners.sealer(database, owner) if rows else None
        if sealer is None:
            raise NotKept(response_id)
        kept = _opened(rows[0], sealer)
        check_time(response_id, kept.expires_at)
        return kept

    def chain(self, response_id: str, owner: str) -> list[KeptResponse]:
        """The response and those before it, the oldest first. Raises NotKept where one is missing,
        TooLong."""
        if not self.vault.is_there:
            raise NotKept(response_id)
        with self.vault.transaction() as database:
            last = self.found(database, response_id, owner)
            check_length(last.depth, last.context_bytes)
            sealer = self.owners.sealer(database, owner)
            rows = database.query(_CHAIN, (response_id, owner, owner, MOST_TURNS))
        assert sealer is not None
        chain = [_opened(row, sealer, has_head=False) for row in reversed(rows)]
        for kept in chain:
            check_time(kept.response_id, kept.expires_at)
        if chain[0].previous_id is not None:
            raise NotKept(chain[0].previous_id)
        return chain

    def response_of(self, item_id: str, owner: str) -> KeptResponse:
        """That one which made an item, or was given it. Raises NotKept."""
        if not self.vault.is_there:
            raise NotKept(item_id)
        with self.vault.transaction() as database:
            query = "SELECT response_id FROM memory_items_of WHERE owner = ? AND item_id = ?"
            rows = database.query(query, (owner, item_id))
            if not rows:
                raise NotKept(item_id)
            return self.found(database, rows[0][0], owner)

    def check_room(self, owner: str) -> None:
        """Raises MemoryFull."""
        if self.vault.is_there:
            with self.vault.transaction() as database:
                self.owners.check_room(database, owner)

    def write(self, database: Database, kept: KeptResponse, item_ids: Sequence[str] = ()) -> None:
        """Insert it, or put it in the place of what it was while it ran. Raises MemoryFull, and
        NotKept where it was deleted meanwhile."""
        sealer = self.owners.sealer_to_keep(database, kept.owner)
        head = sealer.seal(kept.head, "head", kept.owner, kept.response_id)
        turn = sealer.seal(msgspec.json.encode(kept.turn), "turn", kept.owner, kept.response_id)
        before = self._take_out(database, kept)
        size = len(head) + len(turn)
        is_bound = kept.status not in ("failed", "cancelled")
        self.owners.take(database, kept.owner, size - before, is_bound=is_bound)
        database.execute(_INSERT, (*_values(kept), size, head, turn))
        for item_id in item_ids:
            database.execute(_ITEM, (kept.owner, item_id, kept.response_id))

    def _take_out(self, database: Database, kept: KeptResponse) -> int:
        """Of what stands there already; the bytes it had."""
        query = "SELECT bytes FROM memory_responses WHERE response_id = ?"
        rows = database.query(query, (kept.response_id,))
        if kept.is_background and kept.status != "queued" and not rows:
            raise NotKept(kept.response_id)
        delete = "DELETE FROM memory_responses WHERE response_id = ?"
        database.execute(delete, (kept.response_id,))
        return int(rows[0][0]) if rows else 0

    def write_events(
        self,
        database: Database,
        owner: str,
        response_id: str,
        parts: Sequence[EventPart],
        *,
        is_bound: bool = True,
    ) -> None:
        """Raises MemoryFull, unless they are bound by no quota: what ends a response."""
        sealer = self.owners.sealer_to_keep(database, owner)
        for part in parts:
            sealed = sealer.seal(part.events, "events", owner, response_id, str(part.part))
            self.owners.take(database, owner, len(sealed), is_bound=is_bound)
            values = (response_id, part.part, part.first_number, len(sealed), sealed)
            database.execute(_EVENTS, values)

    def events(self, response_id: str, owner: str, first_part: int) -> list[EventPart]:
        """Those from a part on, in order. Raises NotKept."""
        with self.vault.transaction() as database:
            return self.events_in(database, response_id, owner, first_part)

    def events_in(
        self, database: Database, response_id: str, owner: str, first_part: int
    ) -> list[EventPart]:
        sealer = self.owners.sealer(database, owner)
        if sealer is None:
            raise NotKept(response_id)
        rows = database.query(_PARTS, (response_id, owner, first_part))
        return [
            EventPart(
                part=part,
                first_number=number,
                events=sealer.open(sealed, "events", owner, response_id, str(part)),
            )
            for part, number, sealed in rows
        ]

    def delete(self, response_id: str, owner: str) -> KeptResponse:
        """What it was. Raises NotKept."""
        if not self.vault.is_there:
            raise NotKept(response_id)
        with self.vault.transaction() as database:
            kept = self.found(database, response_id, owner)
            self.remove(database, owner, [response_id])
        return kept

    def remove(self, database: Database, owner: str, response_ids: Sequence[str]) -> None:
        for response_id in response_ids:
            freed = 0
            for table in ("memory_responses", "memory_events"):
                sums = f"SELECT coalesce(sum(bytes), 0) FROM {table} WHERE response_id = ?"
                freed += int(database.query(sums, (response_id,))[0][0])
                database.execute(f"DELETE FROM {table} WHERE response_id = ?", (response_id,))
            delete = "DELETE FROM memory_items_of WHERE response_id = ?"
            database.execute(delete, (response_id,))
            self.owners.take(database, owner, -freed)


def check_length(turns: int, context_bytes: int) -> None:
    """Raises TooLong."""
    if turns > MOST_TURNS:
        raise TooLong(f"at most {MOST_TURNS:,} responses before this one")
    if context_bytes > MOST_CONTEXT_BYTES:
        raise TooLong(f"at most {MOST_CONTEXT_BYTES:,} bytes of items before this one")


def check_time(kept_id: str, expires_at: int) -> None:
    """Raises NotKept for what is past its time, whether or not it is swept yet."""
    if expires_at <= time.time():
        raise NotKept(kept_id)


def _values(kept: KeptResponse) -> tuple[object, ...]:
    return (
        kept.response_id,
        kept.owner,
        kept.created_at,
        kept.expires_at,
        kept.previous_id,
        kept.conversation_id,
        int(kept.is_background),
        kept.status,
        kept.depth,
        kept.context_bytes,
        kept.node,
        kept.beat_at,
    )


def _opened(row: Row, sealer: Sealer, *, has_head: bool = True) -> KeptResponse:
    response_id, owner = row[:2]
    return KeptResponse(
        response_id=response_id,
        owner=owner,
        created_at=row[2],
        expires_at=row[3],
        previous_id=row[4],
        conversation_id=row[5],
        is_background=bool(row[6]),
        status=row[7],
        depth=row[8],
        context_bytes=row[9],
        node=row[10],
        beat_at=row[11],
        head=sealer.open(row[12], "head", owner, response_id) if has_head else b"",
        turn=_turn(sealer.open(row[13], "turn", owner, response_id)),
    )


_CHAIN: Final = f"""
WITH RECURSIVE chain AS (
    SELECT {_COLUMNS}, 1 AS place FROM memory_responses WHERE response_id = ? AND owner = ?
    UNION ALL
    SELECT {", ".join(f"r.{name.strip()}" for name in _COLUMNS.split(","))}, chain.place + 1
    FROM memory_responses r JOIN chain ON r.response_id = chain.previous_id
    WHERE r.owner = ? AND chain.place < ?
)
SELECT {_COLUMNS} FROM chain ORDER BY place
"""
_INSERT: Final = """
INSERT INTO memory_responses (
    response_id, owner, created_at, expires_at, previous_id, conversation_id, is_background,
    status, depth, context_bytes, node, beat_at, bytes, head, turn, cancel_asked
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)
"""
_ITEM: Final = """
INSERT INTO memory_items_of (owner, item_id, response_id) VALUES (?, ?, ?)
ON CONFLICT (owner, item_id) DO UPDATE SET response_id = excluded.response_id
"""
_EVENTS: Final = """
INSERT INTO memory_events (response_id, part, first_number, bytes, sealed) VALUES (?, ?, ?, ?, ?)
"""
_PARTS: Final = """
SELECT e.part, e.first_number, e.sealed FROM memory_events e
JOIN memory_responses r ON r.response_id = e.response_id
WHERE e.response_id = ? AND r.owner = ? AND e.part >= ? ORDER BY e.part
"""
