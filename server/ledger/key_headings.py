"""What a key is found by, without all that it allows: a list of 100,000 is read at a glance."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from engines.host.interpreter_turns import in_short_steps
from server.ledger.database import Database
from server.ledger.key_store import SELECT, from_row
from server.ledger.keys import Key, KeyState, key_state
from server.ledger.levels import Above
from server.ledger.tenant_tree import TenantTree

_HEADINGS: Final = (
    "SELECT key_id, name, owner, member_id, expires_at, revoked_at"
    " FROM keys ORDER BY created_at, key_id"
)
_AT_ONCE: Final = 1000
"""So many whole keys are asked for by their ids; of more, all are read."""


@dataclass(slots=True)
class KeyHeading:
    """Of a key that stands in the books. Times in Unix seconds."""

    key_id: str
    name: str
    owner: str
    """Its name."""
    member_id: str | None
    expires_at: float | None
    revoked_at: float | None
    above: Above

    def state(self, now: float) -> KeyState:
        return key_state(self.revoked_at, self.expires_at, self.above.barred, now)


def key_headings(database: Database) -> list[KeyHeading]:
    """Of all keys, in the order in which they were made. In short steps where there is a loop
    beside."""
    place = TenantTree.read(database).place
    found = []
    for row in in_short_steps(database.query(_HEADINGS)):
        key_id, name, owner, member_id, expires_at, revoked_at = row
        above = place(owner, member_id)
        found.append(KeyHeading(key_id, name, owner, member_id, expires_at, revoked_at, above))
    return found


def whole_keys(database: Database, headings: Sequence[KeyHeading]) -> list[Key]:
    """The keys of those headings, in their order; one that is gone since is left out."""
    if not headings:
        return []
    above = {heading.key_id: heading.above for heading in headings}
    some = len(above) <= _AT_ONCE
    of_them = f" WHERE keys.key_id IN ({', '.join('?' * len(above))})" if some else ""
    found = {}
    rows = database.named(f"{SELECT}{of_them}", tuple(above) if some else ())
    for row in in_short_steps(rows):
        if (key_id := row["key_id"]) in above:
            found[key_id] = from_row(row, above[key_id])
    return [found[key_id] for key_id in above if key_id in found]
