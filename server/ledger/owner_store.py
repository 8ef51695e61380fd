"""The owners table. An owner is never deleted, and its name never changes."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from server.ledger.allowance_rows import (
    ALLOWANCE_COLUMNS,
    allowance_fields,
    allowance_row,
    upsert,
)
from server.ledger.audit import note
from server.ledger.audit_forms import told
from server.ledger.database import Database
from server.ledger.errors import OwnerNotFound, TenantConflict
from server.ledger.keys import new_key_id
from server.ledger.tenants import OwnerLevel
from server.ledger.ways_in import end_ways_in_of

PLAIN = ("owner_id", "name", "weight", "created_at", "archived_at")
COLUMNS = (*PLAIN, *ALLOWANCE_COLUMNS)
SELECT = f"SELECT {', '.join(COLUMNS)} FROM owners"
UPSERT = upsert("owners", COLUMNS)
NAMED = "INSERT INTO owners (owner_id, name, created_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"


class OwnerStore:
    """On SQLite and on PostgreSQL. Writers of keys, owners and members take turns."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def list(self) -> list[OwnerLevel]:
        return [from_row(row) for row in self.database.named(f"{SELECT} ORDER BY name")]

    def find(self, word: str) -> OwnerLevel | None:
        """By name, else by id."""
        rows = self.database.named(f"{SELECT} WHERE name = ? OR owner_id = ?", (word, word))
        found = [from_row(row) for row in rows]
        return next((one for one in found if one.name == word), found[0] if found else None)

    def named(self, name: str) -> OwnerLevel | None:
        rows = self.database.named(f"{SELECT} WHERE name = ?", (name,))
        return from_row(rows[0]) if rows else None

    def get(self, word: str) -> OwnerLevel:
        """As `find`. Raises OwnerNotFound."""
        if (found := self.find(word)) is None:
            raise OwnerNotFound(f"No owner has the name or id {word!r}.")
        return found

    def name_of(self, word: str) -> str:
        """Of an owner by name or id; of none there is the word itself."""
        found = self.find(word)
        return word if found is None else found.name

    def create(self, owner: OwnerLevel) -> OwnerLevel:
        """Under a fresh id. Raises TenantConflict where there is one of that name."""
        made = replace(owner, owner_id=new_key_id(), created_at=time.time())
        with self.database.writing("keys"):
            if (there := self.find(owner.name)) is not None and there.name == owner.name:
                raise TenantConflict(f"There is an owner {owner.name!r} already.")
            self.save(made)
            note(self.database, "owner.create", made.name, None, told(made))
        return made

    def update(self, word: str, change: Callable[[OwnerLevel], OwnerLevel]) -> OwnerLevel:
        """Store what `change` makes of the owner; nobody else's change comes in between."""
        with self.database.writing("keys"):
            before = self.get(word)
            changed = change(before)
            self.save(changed)
            if changed.archived_at is not None:
                end_ways_in_of(self.database, changed.name)
            note(self.database, "owner.update", changed.name, told(before), told(changed))
        return changed

    def save(self, owner: OwnerLevel) -> None:
        row = {**{name: getattr(owner, name) for name in PLAIN}, **allowance_row(owner)}
        self.database.execute(UPSERT, [row[name] for name in COLUMNS])

    def delete(self, names: Iterable[str]) -> None:
        """Of a mirror alone."""
        for name in names:
            self.database.execute("DELETE FROM owners WHERE name = ?", (name,))

    def ensure(self, name: str) -> bool:
        """An owner is there once a key is given to it; whether it was made now."""
        return self.database.execute(NAMED, (new_key_id(), name, time.time())) > 0


def from_row(row: Mapping[str, Any]) -> OwnerLevel:
    return OwnerLevel(**{name: row[name] for name in PLAIN}, **allowance_fields(row))
