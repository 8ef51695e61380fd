"""The keys table: create, list, update, rotate, revoke; on SQLite and on PostgreSQL."""

import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from server.ledger.database import Database
from server.ledger.errors import KeyNotFound
from server.ledger.keys import Budget, Key, hash_of, new_key_id, new_key_text
from server.ledger.records import KeyLimits

PLAIN = (
    "key_id",
    "name",
    "owner",
    "service",
    "secret_hash",
    "previous_hash",
    "previous_until",
    "currency",
    "created_at",
    "expires_at",
    "revoked_at",
)
"""Columns that hold a key's field as it is."""
COLUMNS = (
    *PLAIN,
    *KeyLimits.__slots__,
    "models",
    "budget_kind",
    "budget_amount",
    "budget_period",
)
SELECT = (
    f"SELECT {', '.join(f'keys.{name}' for name in COLUMNS)}, last_used_at"
    " FROM keys LEFT JOIN key_use ON key_use.key_id = keys.key_id"
)
UPSERT = (
    f"INSERT INTO keys ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"
    " ON CONFLICT (key_id) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in COLUMNS[1:])
)


class KeyStore:
    """Every write bumps `keys_version`, by which running servers notice it."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def version(self) -> int:
        rows = self.database.query("SELECT value FROM meta WHERE name = 'keys_version'")
        return int(rows[0][0])

    def list(self) -> list[Key]:
        rows = self.database.named(f"{SELECT} ORDER BY keys.created_at, keys.key_id")
        return [from_row(row) for row in rows]

    def get(self, key_id: str) -> Key:
        rows = self.database.named(f"{SELECT} WHERE keys.key_id = ?", (key_id,))
        if not rows:
            raise KeyNotFound(
                f"There is no key with id {key_id!r}; `fjord keys list` shows the ids."
            )
        return from_row(rows[0])

    def create(self, key: Key) -> tuple[Key, str]:
        """Store a new key like `key`, under a fresh id; return it with its text, shown only now."""
        key_id = new_key_id()
        text = new_key_text(key.service, key_id)
        made = replace(key, key_id=key_id, secret_hash=hash_of(text), created_at=time.time())
        self.save(made)
        return made, text

    def update(self, key_id: str, change: Callable[[Key], Key]) -> Key:
        """Store what `change` makes of the key; nobody else's change comes in between."""
        with self.database.writing("keys"):
            changed = change(self.get(key_id))
            self.save(changed)
        return changed

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
        return rotated, text

    def revoke(self, key_id: str) -> Key:
        """From now on the key is refused, for ever. Revoking twice keeps the first time."""
        now = time.time()
        return self.update(key_id, lambda key: replace(key, revoked_at=key.revoked_at or now))

    def save(self, key: Key) -> None:
        row = to_row(key)
        self.database.execute(UPSERT, [row[name] for name in COLUMNS])

    def replace_all(self, keys: Iterable[Key]) -> None:
        """Make the table hold exactly `keys`: how a node mirrors its site's."""
        with self.database.writing("keys"):
            self.database.execute("DELETE FROM keys")
            for key in keys:
                self.save(key)


def to_row(key: Key) -> dict[str, Any]:
    """By column, all of COLUMNS."""
    budget = key.budget
    return {
        **{name: getattr(key, name) for name in PLAIN},
        **{name: getattr(key.limits, name) for name in KeyLimits.__slots__},
        "models": None if key.models is None else json.dumps(sorted(key.models)),
        "budget_kind": budget and budget.kind,
        "budget_amount": budget and budget.amount,
        "budget_period": budget and budget.period,
    }


def from_row(row: Mapping[str, Any]) -> Key:
    models, kind = row["models"], row["budget_kind"]
    return Key(
        **{name: row[name] for name in PLAIN},
        last_used_at=row["last_used_at"],
        limits=KeyLimits(**{name: row[name] for name in KeyLimits.__slots__}),
        models=None if models is None else frozenset(json.loads(models)),
        budget=kind and Budget(kind=kind, amount=row["budget_amount"], period=row["budget_period"]),
    )
