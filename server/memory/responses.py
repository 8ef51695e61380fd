"""A kept response: its head, its turn (what came in and went out), its events, and chains of them.

A turn holds what a response added; what it was asked beside that stands in its ancestors' turns,
which are read by `previous_id`.
"""

from collections.abc import Sequence

import msgspec

from server.ledger.database import Database, Row
from server.memory.errors import NotKept
from server.memory.owners import Owners
from server.memory.response_rows import (
    CHAIN,
    COLUMNS,
    EVENTS,
    INSERT,
    ITEM,
    LAST_PART,
    MOST_TURNS,
    OPEN,
    PARTS,
    PARTS_AT_ONCE,
    EventPart,
    KeptResponse,
    check_length,
    check_time,
    from_number,
    opened,
    values_of,
)
from server.memory.vault import Vault


class ResponseStore:
    """All of them. Blocks: off the event loop, from any thread. Raises MemoryTrouble."""

    def __init__(self, vault: Vault) -> None:
        self.vault = vault

    @property
    def owners(self) -> Owners:
        return self.vault.owners

    def find(self, response_id: str, owner: str) -> KeptResponse:
        """Raises NotKept, also for another owner's."""
        if not self.vault.may_hold(response_id):
            raise NotKept(response_id)
        with self.vault.transaction() as database:
            return self.found(database, response_id, owner)

    def found(self, database: Database, response_id: str, owner: str) -> KeptResponse:
        query = f"SELECT {COLUMNS} FROM memory_responses WHERE response_id = ? AND owner = ?"
        rows = database.query(query, (response_id, owner))
        sealer = self.owners.sealer(database, owner) if rows else None
        if sealer is None:
            raise NotKept(response_id)
        kept = opened(rows[0], sealer)
        check_time(response_id, kept.expires_at)
        return kept

    def chain(self, response_id: str, owner: str) -> list[KeptResponse]:
        """The response and those before it, the oldest first. Raises NotKept where one is missing,
        TooLong."""
        if not self.vault.may_hold(response_id):
            raise NotKept(response_id)
        with self.vault.transaction() as database:
            last = self.found(database, response_id, owner)
            check_length(last.depth, last.context_bytes)
            sealer = self.owners.sealer(database, owner)
            rows = database.query(CHAIN, (last.previous_id, owner, owner, MOST_TURNS))
        assert sealer is not None
        with self.vault.failures.noted():
            chain = [*(opened(row, sealer, has_head=False) for row in reversed(rows)), last]
        for kept in chain:
            check_time(kept.response_id, kept.expires_at)
        if chain[0].previous_id is not None:
            raise NotKept(chain[0].previous_id)
        return chain

    def response_of(self, item_id: str, owner: str) -> KeptResponse:
        """That one which made an item, or was given it. Raises NotKept."""
        if not self.vault.may_hold(item_id):
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

    def write(
        self,
        database: Database,
        kept: KeptResponse,
        item_ids: Sequence[str] = (),
        *,
        is_bound: bool = True,
    ) -> None:
        """Insert it, or put it in the place of what it was while it ran. Raises MemoryFull, and
        NotKept where it was deleted meanwhile."""
        sealer = self.owners.sealer_to_keep(database, kept.owner)
        head = sealer.seal(kept.head, "head", kept.owner, kept.response_id)
        turn = sealer.seal(msgspec.json.encode(kept.turn), "turn", kept.owner, kept.response_id)
        before = self._take_out(database, kept)
        size = len(head) + len(turn)
        is_bound = is_bound and kept.status not in ("failed", "cancelled")
        self.owners.take(database, kept.owner, size - before, is_bound=is_bound)
        database.execute(INSERT, (*values_of(kept), size, head, turn))
        for item_id in item_ids:
            database.execute(ITEM, (kept.owner, item_id, kept.response_id))

    def _take_out(self, database: Database, kept: KeptResponse) -> int:
        """Of what stands there already; the bytes it had."""
        delete = "DELETE FROM memory_responses WHERE response_id = ? RETURNING bytes, status"
        rows = database.query(delete, (kept.response_id,))
        is_open = bool(rows) and rows[0][1] in OPEN
        if kept.is_background and kept.status != "queued" and not is_open:
            raise NotKept(kept.response_id)  # and the block takes its deletion back
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
        if not parts:
            return
        sealer = self.owners.sealer_to_keep(database, owner)
        for part in parts:
            sealed = sealer.seal(part.events, "events", owner, response_id, str(part.part))
            self.owners.take(database, owner, len(sealed), is_bound=is_bound)
            values = (response_id, part.part, part.first_number, len(sealed), sealed)
            database.execute(EVENTS, values)

    def events_from(self, response_id: str, owner: str, number: int) -> bytes:
        """Some events from a number on, in order; none: there are no more. Raises NotKept."""
        values = (response_id, owner, response_id, number, PARTS_AT_ONCE)
        with self.vault.transaction() as database:
            parts = self._parts(database, response_id, owner, database.query(PARTS, values))
        events = b"".join(part.events for part in parts)
        return from_number(events, number - parts[0].first_number) if parts else b""

    def last_part(self, database: Database, response_id: str, owner: str) -> EventPart | None:
        """Raises NotKept."""
        rows = database.query(LAST_PART, (response_id, owner))
        parts = self._parts(database, response_id, owner, rows)
        return parts[0] if parts else None

    def _parts(
        self, database: Database, response_id: str, owner: str, rows: Sequence[Row]
    ) -> list[EventPart]:
        sealer = self.owners.sealer(database, owner)
        if sealer is None:
            raise NotKept(response_id)
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
        if not self.vault.may_hold(response_id):
            raise NotKept(response_id)
        with self.vault.transaction() as database:
            kept = self.found(database, response_id, owner)
            self.remove(database, owner, response_id)
        return kept

    def remove(self, database: Database, owner: str, response_id: str) -> None:
        freed = 0
        for table in ("memory_responses", "memory_events"):
            delete = f"DELETE FROM {table} WHERE response_id = ? RETURNING bytes"
            freed += sum(row[0] for row in database.query(delete, (response_id,)))
        database.execute("DELETE FROM memory_items_of WHERE response_id = ?", (response_id,))
        self.owners.take(database, owner, -freed)
