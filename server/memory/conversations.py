"""Conversations: items in their order, which responses read and add to."""

import time
from collections.abc import Sequence
from typing import Final

import msgspec

from server.ledger.database import Database, Row
from server.memory.errors import NotKept
from server.memory.owners import Owners
from server.memory.response_rows import check_length, check_time
from server.memory.vault import Vault

MOST_ITEMS: Final = 8192
"""Of one conversation: as of a request's input."""


class KeptConversation(msgspec.Struct, frozen=True, kw_only=True):
    """One of them. Times in Unix seconds."""

    conversation_id: str
    owner: str
    created_at: int
    metadata: bytes
    """JSON."""


class KeptItem(msgspec.Struct, frozen=True, kw_only=True):
    """One item of a conversation, as JSON."""

    item_id: str
    item: bytes


class ConversationFull(Exception):
    """It has as many items as may be; fit for a client."""


class ConversationStore:
    """All of them. Blocks: off the event loop, from any thread. Raises MemoryTrouble; NotKept also
    for another owner's."""

    def __init__(self, vault: Vault) -> None:
        self.vault = vault

    @property
    def owners(self) -> Owners:
        return self.vault.owners

    def create(self, made: KeptConversation, items: Sequence[KeptItem]) -> None:
        """Raises MemoryFull."""
        with self.vault.transaction() as database:
            sealer = self.owners.sealer_to_keep(database, made.owner)
            sealed = sealer.seal(made.metadata, "conversation", made.owner, made.conversation_id)
            self.owners.take(database, made.owner, len(sealed))
            expiry = self.owners.expiry(made.owner)
            values = (made.conversation_id, made.owner, made.created_at, expiry)
            database.execute(_CREATE, (*values, len(sealed), sealed))
            self.append(database, made.conversation_id, made.owner, items)

    def find(self, conversation_id: str, owner: str) -> KeptConversation:
        with self._there(conversation_id).transaction() as database:
            return self._found(database, conversation_id, owner)

    def _there(self, kept_id: str) -> Vault:
        if not self.vault.may_hold(kept_id):
            raise NotKept(kept_id)
        return self.vault

    def _found(self, database: Database, conversation_id: str, owner: str) -> KeptConversation:
        rows = database.query(_FIND, (conversation_id, owner))
        sealer = self.owners.sealer(database, owner) if rows else None
        if sealer is None:
            raise NotKept(conversation_id)
        created_at, expires_at, sealed = rows[0]
        check_time(conversation_id, expires_at)
        return KeptConversation(
            conversation_id=conversation_id,
            owner=owner,
            created_at=created_at,
            metadata=sealer.open(sealed, "conversation", owner, conversation_id),
        )

    def update(self, conversation_id: str, owner: str, metadata: bytes) -> KeptConversation:
        """Raises MemoryFull."""
        with self._there(conversation_id).transaction() as database:
            before = self._found(database, conversation_id, owner)
            sealer = self.owners.sealer_to_keep(database, owner)
            sealed = sealer.seal(metadata, "conversation", owner, conversation_id)
            [(was,)] = database.query(_BYTES, (conversation_id,))
            self.owners.take(database, owner, len(sealed) - was)
            values = (self.owners.expiry(owner), len(sealed), sealed, conversation_id)
            database.execute(_UPDATE, values)
        return msgspec.structs.replace(before, metadata=metadata)

    def delete(self, conversation_id: str, owner: str) -> None:
        with self._there(conversation_id).transaction() as database:
            self._found(database, conversation_id, owner)
            self.remove(database, owner, conversation_id)

    def remove(self, database: Database, owner: str, conversation_id: str) -> None:
        freed = 0
        for table in ("memory_conversations", "memory_conversation_items"):
            delete = f"DELETE FROM {table} WHERE conversation_id = ? RETURNING bytes"
            freed += sum(row[0] for row in database.query(delete, (conversation_id,)))
        self.owners.take(database, owner, -freed)

    def add(self, conversation_id: str, owner: str, items: Sequence[KeptItem]) -> None:
        """Raises MemoryFull, ConversationFull."""
        with self._there(conversation_id).transaction() as database:
            self._found(database, conversation_id, owner)
            self.append(database, conversation_id, owner, items)

    def append(
        self, database: Database, conversation_id: str, owner: str, items: Sequence[KeptItem]
    ) -> None:
        """At its end, in one piece: nobody else's come in between. Raises MemoryFull, NotKept,
        ConversationFull."""
        plain = sum(len(item.item) for item in items)
        values = (len(items), len(items), plain, self.owners.expiry(owner), conversation_id, owner)
        if not database.execute(_GROW, values):
            raise NotKept(conversation_id)
        [(next_seq, count)] = database.query(_NEXT, (conversation_id,))
        if count > MOST_ITEMS:
            raise ConversationFull(f"A conversation may have {MOST_ITEMS:,} items.")
        sealer = self.owners.sealer_to_keep(database, owner)
        rows = []
        for seq, item in enumerate(items, next_seq - len(items)):
            sealed = sealer.seal(item.item, "item", owner, conversation_id, item.item_id)
            rows.append((conversation_id, seq, item.item_id, len(sealed), len(item.item), sealed))
        self.owners.take(database, owner, sum(row[3] for row in rows))
        for row in rows:
            database.execute(_ITEM, row)

    def items(self, conversation_id: str, owner: str) -> list[KeptItem]:
        """All of them, the oldest first. Raises TooLong."""
        with self._there(conversation_id).transaction() as database:
            self._found(database, conversation_id, owner)
            [(size,)] = database.query(_CONTEXT_BYTES, (conversation_id,))
            check_length(0, size)
            rows = database.query(f"{_ITEMS} ORDER BY seq", (conversation_id,))
            return self._opened(database, conversation_id, owner, rows)

    def page(
        self, conversation_id: str, owner: str, *, after: str | None, limit: int, ascending: bool
    ) -> list[KeptItem] | None:
        """At most `limit` + 1; None: there is no such `after`."""
        with self._there(conversation_id).transaction() as database:
            self._found(database, conversation_id, owner)
            query, values = _ITEMS, [conversation_id]
            if after is not None:
                seqs = self._asked(database, _SEQ, conversation_id, after)
                if not seqs:
                    return None
                query += f" AND seq {'>' if ascending else '<'} ?"
                values.append(seqs[0][0])
            query += f" ORDER BY seq {'ASC' if ascending else 'DESC'} LIMIT ?"
            rows = database.query(query, (*values, limit + 1))
            return self._opened(database, conversation_id, owner, rows)

    def item(self, conversation_id: str, owner: str, item_id: str) -> KeptItem:
        with self._there(conversation_id).transaction() as database:
            self._found(database, conversation_id, owner)
            rows = self._asked(database, f"{_ITEMS} AND item_id = ?", conversation_id, item_id)
            if not rows:
                raise NotKept(item_id)
            return self._opened(database, conversation_id, owner, rows)[0]

    def delete_item(self, conversation_id: str, owner: str, item_id: str) -> KeptConversation:
        """The conversation without it."""
        with self._there(conversation_id).transaction() as database:
            found = self._found(database, conversation_id, owner)
            rows = self._asked(database, _DELETE_ITEM, conversation_id, item_id)
            if not rows:
                raise NotKept(item_id)
            size, plain = rows[0]
            database.execute(_SHRINK, (plain, conversation_id))
            self.owners.take(database, owner, -size)
        return found

    def _asked(self, database: Database, query: str, *ids: str) -> Sequence[Row]:
        return database.query(query, ids) if all(map(self.vault.may_hold, ids)) else ()

    def _opened(
        self,
        database: Database,
        conversation_id: str,
        owner: str,
        rows: Sequence[tuple[str, bytes]],
    ) -> list[KeptItem]:
        sealer = self.owners.sealer(database, owner)
        assert sealer is not None
        return [
            KeptItem(
                item_id=item_id,
                item=sealer.open(sealed, "item", owner, conversation_id, item_id),
            )
            for item_id, sealed in rows
        ]


def new_conversation(conversation_id: str, owner: str, metadata: bytes) -> KeptConversation:
    return KeptConversation(
        conversation_id=conversation_id,
        owner=owner,
        created_at=int(time.time()),
        metadata=metadata,
    )


_CREATE: Final = """
INSERT INTO memory_conversations (
    conversation_id, owner, created_at, expires_at, bytes, sealed, next_seq, items, context_bytes
) VALUES (?, ?, ?, ?, ?, ?, 0, 0, 0)
"""
_FIND: Final = """
SELECT created_at, expires_at, sealed FROM memory_conversations
WHERE conversation_id = ? AND owner = ?
"""
_UPDATE: Final = """
UPDATE memory_conversations SET expires_at = ?, bytes = ?, sealed = ? WHERE conversation_id = ?
"""
_BYTES: Final = "SELECT bytes FROM memory_conversations WHERE conversation_id = ?"
_CONTEXT_BYTES: Final = "SELECT context_bytes FROM memory_conversations WHERE conversation_id = ?"
_GROW: Final = """
UPDATE memory_conversations SET next_seq = next_seq + ?, items = items + ?,
    context_bytes = context_bytes + ?, expires_at = ?
WHERE conversation_id = ? AND owner = ?
"""
_SHRINK: Final = """
UPDATE memory_conversations SET items = items - 1, context_bytes = context_bytes - ?
WHERE conversation_id = ?
"""
_NEXT: Final = "SELECT next_seq, items FROM memory_conversations WHERE conversation_id = ?"
_ITEM: Final = """
INSERT INTO memory_conversation_items (conversation_id, seq, item_id, bytes, plain_bytes, sealed)
VALUES (?, ?, ?, ?, ?, ?)
"""
_ITEMS: Final = "SELECT item_id, sealed FROM memory_conversation_items WHERE conversation_id = ?"
_SEQ: Final = """
SELECT seq FROM memory_conversation_items WHERE conversation_id = ? AND item_id = ?
"""
_DELETE_ITEM: Final = """
DELETE FROM memory_conversation_items WHERE conversation_id = ? AND item_id = ?
RETURNING bytes, plain_bytes
"""
