"""The members table: persons of an owner, or of the site. A member is disabled, never deleted."""

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
from server.ledger.errors import MemberNotFound, TenantConflict
from server.ledger.keys import new_key_id
from server.ledger.owner_store import OwnerStore
from server.ledger.tenants import MemberLevel
from server.ledger.ways_in import end_ways_in

PLAIN = ("member_id", "owner", "name", "email", "role", "created_at", "disabled_at")
COLUMNS = (*PLAIN, *ALLOWANCE_COLUMNS)
SELECT = f"SELECT {', '.join(COLUMNS)} FROM members"
UPSERT = upsert("members", COLUMNS)


class MemberStore:
    """On SQLite and on PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def list(self) -> list[MemberLevel]:
        rows = self.database.named(f"{SELECT} ORDER BY coalesce(owner, ''), name, member_id")
        return [from_row(row) for row in rows]

    def of_id(self, member_id: str) -> tuple[MemberLevel, ...]:
        """It, or nobody."""
        rows = self.database.named(f"{SELECT} WHERE member_id = ?", (member_id,))
        return tuple(from_row(row) for row in rows)

    def get(
        self,
        word: str,
        owner: str | None = None,
        is_seen: Callable[[MemberLevel], bool] = lambda _: True,
    ) -> MemberLevel:
        """By id, else by a name that one alone has; with `owner` (its name) of that owner and of
        the site; the others are not there. Raises MemberNotFound, TenantConflict."""
        rows = self.database.named(f"{SELECT} WHERE member_id = ? OR name = ?", (word, word))
        found = [one for one in map(from_row, rows) if is_seen(one)]
        if owner is not None:
            found = [one for one in found if one.owner in (owner, None)]
        found = (
            [one for one in found if one.member_id == word]
            or [one for one in found if owner and one.owner == owner]
            or found
        )
        if len(found) == 1:
            return found[0]
        if not found:
            of = "" if owner is None else f" of {owner}"
            raise MemberNotFound(f"No member{of} has the name or id {word!r}.")
        each = ", ".join(f"{one.member_id} of {one.owner or 'the site'}" for one in found[:10])
        raise TenantConflict(f"{len(found)} members are called {word!r}: {each}; give the id.")

    def create(self, member: MemberLevel) -> MemberLevel:
        """Under a fresh id. Its owner, by name or id, has to be there. Raises OwnerNotFound,
        TenantConflict."""
        with self.database.writing("keys"):
            made = self.placed(replace(member, member_id=new_key_id(), created_at=time.time()))
            self.save(made)
            note(self.database, "member.create", made.member_id, None, told(made))
        return made

    def update(
        self, word: str, change: Callable[[MemberLevel], MemberLevel], owner: str | None = None
    ) -> MemberLevel:
        """Store what `change` makes of the member; nobody else's change comes in between."""
        with self.database.writing("keys"):
            before = self.get(word, owner)
            changed = self.placed(change(before))
            if changed.owner != before.owner:
                raise TenantConflict(
                    f"{before.name} is a member of {before.owner or 'the site'}, with all that was "
                    "used, for good: make a member of the other."
                )
            self.save(changed)
            if changed.disabled_at is not None:
                end_ways_in(self.database, changed.member_id)
            note(self.database, "member.update", changed.member_id, told(before), told(changed))
        return changed

    def placed(self, member: MemberLevel) -> MemberLevel:
        """Its owner by name. Raises OwnerNotFound, TenantConflict."""
        owner = None if member.owner is None else OwnerStore(self.database).get(member.owner).name
        if (owner is None) != (member.role == "admin") and (owner or member.role != "auditor"):
            raise TenantConflict(
                "An admin is the site's, a manager or member an owner's, an auditor either's."
            )
        taken = self.database.query(
            "SELECT 1 FROM members WHERE name = ? AND coalesce(owner, '') = ? AND member_id <> ?",
            (member.name, owner or "", member.member_id),
        )
        if taken:
            of = owner or "the site"
            raise TenantConflict(f"{of} has a member {member.name!r} already.")
        return replace(member, owner=owner)

    def delete(self, member_ids: Iterable[str]) -> None:
        """Of a mirror alone."""
        for member_id in member_ids:
            self.database.execute("DELETE FROM members WHERE member_id = ?", (member_id,))

    def save(self, member: MemberLevel) -> None:
        row = {**{name: getattr(member, name) for name in PLAIN}, **allowance_row(member)}
        self.database.execute(UPSERT, [row[name] for name in COLUMNS])


def from_row(row: Mapping[str, Any]) -> MemberLevel:
    return MemberLevel(**{name: row[name] for name in PLAIN}, **allowance_fields(row))
