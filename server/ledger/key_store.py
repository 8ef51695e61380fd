"""The keys table: create, list, update, rotate, revoke; on SQLite and on PostgreSQL."""

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from engines.host.interpreter_turns import in_short_steps
from server.ledger.allowance_rows import (
    ALLOWANCE_COLUMNS,
    allowance_fields,
    allowance_row,
    upsert,
)
from server.ledger.audit import note
from server.ledger.audit_forms import told
from server.ledger.database import Database
from server.ledger.errors import KeyNotFound, TenantConflict
from server.ledger.keys import Key, hash_of, new_key_id, new_key_text
from server.ledger.levels import Above
from server.ledger.member_store import MemberStore
from server.ledger.owner_store import OwnerStore
from server.ledger.tenant_tree import TenantTree, place_of

PLAIN = (
    "key_id",
    "name",
    "owner",
    "member_id",
    "service",
    "secret_hash",
    "previous_hash",
    "previous_until",
    "created_at",
    "expires_at",
    "revoked_at",
)
"""Columns that hold a key's field as it is."""
COLUMNS = (*PLAIN, *ALLOWANCE_COLUMNS)
SELECT = (
    f"SELECT {', '.join(f'keys.{name}' for name in COLUMNS)}, last_used_at"
    " FROM keys LEFT JOIN key_use ON key_use.key_id = keys.key_id"
)
UPSERT = upsert("keys", COLUMNS)


class KeyStore:
    """Every write bumps `keys_version`, by which running servers notice it; so does one of what
    stands above keys. Keys are read with all of that."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def version(self) -> int:
        rows = self.database.query("SELECT value FROM meta WHERE name = 'keys_version'")
        return int(rows[0][0])

    def list(self) -> list[Key]:
        """In the order in which they were made. In short steps where there is a loop beside."""
        rows = self.database.named(f"{SELECT} ORDER BY keys.created_at, keys.key_id")
        tree = TenantTree.read(self.database)
        found = []
        for row in in_short_steps(rows):
            found.append(from_row(row, tree.place(row["owner"], row["member_id"])))
        return found

    def called(self, word: str) -> Sequence[Key]:
        """Those with this id or name, in the order in which they were made."""
        of_it = "WHERE keys.key_id = ? OR keys.name = ? ORDER BY keys.created_at, keys.key_id"
        return self._found(self.database.named(f"{SELECT} {of_it}", (word, word)))

    def count(self) -> int:
        return int(self.database.query("SELECT count(*) FROM keys")[0][0])

    def some(self, key_ids: Collection[str]) -> Sequence[Key]:
        """Those of them that are there, in no order."""
        if not key_ids:
            return []
        of_them = f"WHERE keys.key_id IN ({', '.join('?' * len(key_ids))})"
        return self._found(self.database.named(f"{SELECT} {of_them}", tuple(key_ids)))

    def _found(self, rows: Iterable[Mapping[str, Any]]) -> Sequence[Key]:
        """Few of all: what is above them is read for each place of its own."""
        places: dict[tuple[str, str | None], Above] = {}
        found = []
        for row in rows:
            place = row["owner"], row["member_id"]
            if place not in places:
                places[place] = place_of(self.database, *place)
            found.append(from_row(row, places[place]))
        return found

    def get(self, key_id: str) -> Key:
        rows = self.database.named(f"{SELECT} WHERE keys.key_id = ?", (key_id,))
        if not rows:
            raise KeyNotFound(
                f"There is no key with id {key_id!r}; `fjord keys list` shows the ids."
            )
        [row] = rows
        return from_row(row, place_of(self.database, row["owner"], row["member_id"]))

    def create(self, key: Key) -> tuple[Key, str]:
        """Store a new key like `key`, under a fresh id; return it with its text, shown only now.
        Its owner and member are found by name or id, and an owner that is not there is made.
        Raises MemberNotFound, TenantConflict."""
        key_id = new_key_id()
        text = new_key_text(key.service, key_id)
        made = replace(key, key_id=key_id, secret_hash=hash_of(text), created_at=time.time())
        with self.database.writing("keys"):
            made = self.placed(made)
            self.save(made)
            note(self.database, "key.create", made.key_id, None, told(made))
        return made, text

    def update(self, key_id: str, change: Callable[[Key], Key]) -> Key:
        """Store what `change` makes of the key; nobody else's change comes in between. What a
        member has used is what its keys have: a key is given to nobody else. Raises as `create`."""
        with self.database.writing("keys"):
            before = self.get(key_id)
            changed = self.placed(change(before), before)
            self.save(changed)
            is_end = changed.revoked_at is not None and before.revoked_at is None
            action = "key.revoke" if is_end else "key.update"
            note(self.database, action, key_id, told(before), told(changed))
        return changed

    def placed(self, key: Key, before: Key | None = None) -> Key:
        """Its owner by name, its member by id, and what is above it, as they will be."""
        owner = OwnerStore(self.database).name_of(key.owner)
        member = key.member_id
        if before is None or owner != before.owner:
            self.check_open(owner)
        if before is not None and before.member_id is not None and owner != before.owner:
            raise TenantConflict("A member's key stays with its owner: make another one.")
        if member is not None and (before is None or member != before.member_id):
            member = MemberStore(self.database).get(member, owner).member_id
        if before is not None and before.member_id not in (None, member):
            raise TenantConflict("A key is its member's for good: make another one.")
        above = place_of(self.database, owner, member)
        return replace(key, owner=owner, member_id=member, above=above)

    def check_open(self, owner: str) -> None:
        """Make the owner where there is none. Raises TenantConflict where it gets no keys."""
        store = OwnerStore(self.database)
        if (found := store.find(owner)) is not None and found.archived_at is not None:
            raise TenantConflict(f"The owner {owner!r} is archived: it gets no keys.")
        if store.ensure(owner):
            note(self.database, "owner.create", owner, None, {"name": owner})

    def rotate(self, key_id: str, *, grace_s: float = 0.0) -> tuple[Key, str]:
        """Give the key a new text; the old one is accepted for `grace_s` seconds more."""
        with self.database.writing("keys"):
            key = self.get(key_id)
            text = new_key_text(key.service, key_id)
            keeps = grace_s > 0
            rotated = replace(
                key,
                secret_hash=hash_of(text),
                previous_hash=key.secret_hash if keeps else None,
                previous_until=time.time() + grace_s if keeps else None,
            )
            self.save(rotated)
            note(self.database, "key.rotate", key_id, None, {"grace_s": grace_s})
        return rotated, text

    def revoke(self, key_id: str) -> Key:
        """From now on the key is refused, for ever. Revoking twice keeps the first time."""
        now = time.time()
        return self.update(key_id, lambda key: replace(key, revoked_at=key.revoked_at or now))

    def save(self, key: Key) -> None:
        row = to_row(key)
        self.database.execute(UPSERT, [row[name] for name in COLUMNS])

    def replace_all(self, keys: Iterable[Key], tree: TenantTree) -> None:
        """Make the tables hold exactly `keys` and `tree`: how a node mirrors its site's. What is
        the same is not written."""
        before = {key.key_id: to_row(key) for key in self.list()}
        wanted = {key.key_id: key for key in keys}
        new = [key for id_, key in wanted.items() if before.get(id_) != to_row(key)]
        with self.database.writing("keys"):
            tree.mirror(self.database)
            self.delete(before.keys() - wanted.keys() | {key.key_id for key in new})
            for key in new:
                self.save(key)

    def delete(self, key_ids: Iterable[str]) -> None:
        """Of a mirror alone."""
        for key_id in key_ids:
            self.database.execute("DELETE FROM keys WHERE key_id = ?", (key_id,))


def to_row(key: Key) -> dict[str, Any]:
    """By column, all of COLUMNS."""
    return {**{name: getattr(key, name) for name in PLAIN}, **allowance_row(key)}


def from_row(row: Mapping[str, Any], above: Above) -> Key:
    return Key(
        **{name: row[name] for name in PLAIN},
        above=above,
        last_used_at=row["last_used_at"],
        **allowance_fields(row),
    )
