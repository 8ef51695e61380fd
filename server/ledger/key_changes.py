"""Which keys a step of `keys_version` changed: itself, or something above them."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from server.ledger.database import Database
from server.ledger.key_store import KeyStore
from server.ledger.keys import Key

KEPT = 10_000
"""Versions whose changes are still told (migration 0014)."""
MOST = 2000
"""Keys that are read one by one; beyond, all are."""
NOTED = f"""
SELECT DISTINCT level, id FROM key_changes WHERE version > ? AND version <= ? LIMIT {MOST + 1}
"""
BELOW = {
    "owners": f"SELECT key_id FROM keys WHERE owner = ? LIMIT {MOST + 1}",
    "members": f"SELECT key_id FROM keys WHERE member_id = ? LIMIT {MOST + 1}",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyChanges:
    version: int
    """As of which, at least."""
    keys: Collection[Key]
    """New ones, and those that are, or stand, otherwise than before."""
    gone: frozenset[str]
    """Ids."""


def noted(database: Database, since: int, version: int) -> list[tuple[str, str]] | None:
    """Table and id of all that changed after `since` (-1: nothing was read yet), until `version`.
    None: nobody knows, or it is too much."""
    if since < 0 or not 0 <= version - since <= KEPT:
        return None
    rows = database.query(NOTED, (since, version))
    if KeyStore(database).version() - since > KEPT:
        return None  # the first of them may have been forgotten meanwhile
    return None if len(rows) > MOST else [(level, id_) for level, id_ in rows]


def changed_since(database: Database, since: int) -> KeyChanges | None:
    """None: all keys have to be read."""
    version = KeyStore(database).version()
    changed = noted(database, since, version)
    ids = None if changed is None else ids_below(database, changed)
    if ids is None:
        return None
    keys = KeyStore(database).some(ids)
    gone = ids.difference(key.key_id for key in keys)
    return KeyChanges(version=version, keys=keys, gone=frozenset(gone))


def ids_below(database: Database, changed: Iterable[tuple[str, str]]) -> set[str] | None:
    """The keys at or below these; None: too many."""
    found: set[str] = set()
    for level, id_ in changed:
        if level == "keys":
            found.add(id_)
        elif level in BELOW:
            found.update(row[0] for row in database.query(BELOW[level], (id_,)))
        else:
            return None
        if len(found) > MOST:
            return None
    return found
