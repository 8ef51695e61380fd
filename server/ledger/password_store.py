"""Members' passwords, as argon2 has hashed them, and the links by which they are set."""

import hashlib
import secrets
import time
from dataclasses import dataclass
from typing import Final

from server.ledger.actors import Actor
from server.ledger.audit import note
from server.ledger.database import Database
from server.ledger.errors import LedgerError
from server.ledger.member_store import MemberStore
from server.ledger.tenants import MemberLevel
from server.ledger.ways_in import end_ways_in

LINK_LASTS_S: Final = 24 * 3600.0
MOST_CANDIDATES: Final = 5
"""Members of one name whose passwords are tried."""

CANDIDATES: Final = f"""
SELECT member_id, hash FROM (
    SELECT m.member_id, p.hash, m.created_at, row_number() OVER (
        PARTITION BY m.owner ORDER BY m.name = ? DESC, m.created_at, m.member_id) AS place
    FROM members m JOIN passwords p ON p.member_id = m.member_id
    LEFT JOIN owners o ON o.name = m.owner
    WHERE (m.name = ? OR lower(m.email) = lower(?)) AND m.disabled_at IS NULL
      AND o.archived_at IS NULL
) AS found
ORDER BY place, created_at, member_id LIMIT {MOST_CANDIDATES}
"""
"""One of each owner before a second one: no manager's members crowd out another owner's."""
ADMINS: Final = """
SELECT 1 FROM members m JOIN passwords p ON p.member_id = m.member_id
WHERE m.role = 'admin' AND m.disabled_at IS NULL LIMIT 1
"""
SET: Final = """
INSERT INTO passwords (member_id, hash, changed_at) VALUES (?, ?, ?)
ON CONFLICT (member_id) DO UPDATE SET hash = excluded.hash, changed_at = excluded.changed_at
"""


class LinkEnded(LedgerError):
    """A one-time link that was used, has ended, or never was."""

    def __init__(self) -> None:
        super().__init__("This link was used already, or its day is over. Ask for another one.")


@dataclass(frozen=True, slots=True, kw_only=True)
class SignInLink:
    """A link that holds."""

    link_id: str
    member: MemberLevel | None
    """Whose password it sets; None: it makes the first admin."""


class PasswordStore:
    """On SQLite and on PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def candidates(self, word: str) -> list[tuple[str, str]]:
        """Of a name or an e-mail address: members' ids, and their passwords' hashes."""
        return [(row[0], row[1]) for row in self.database.query(CANDIDATES, (word, word, word))]

    def hash_of(self, member_id: str) -> str | None:
        sql = "SELECT hash FROM passwords WHERE member_id = ?"
        rows = self.database.query(sql, (member_id,))
        return rows[0][0] if rows else None

    def set(self, member_id: str, hashed: str) -> None:
        """All sessions of the member end, and its links."""
        with self.database.writing("sessions"):
            self.database.execute(SET, (member_id, hashed, time.time()))
            end_ways_in(self.database, member_id)
            note(self.database, "member.password", member_id)

    def renew(self, member_id: str, hashed: str) -> None:
        """The same password, hashed as it is done now."""
        sql = "UPDATE passwords SET hash = ? WHERE member_id = ?"
        self.database.execute(sql, (hashed, member_id))

    def has_admin(self) -> bool:
        """Whether an admin of the site can sign in with a password."""
        return bool(self.database.query(ADMINS))

    def invite(self, member_id: str | None) -> str:
        """A new link's token, shown only now; former ones of the member end. None: for the first
        admin: each node of a site shows one, and the first that is used ends all."""
        token = secrets.token_urlsafe(24)
        with self.database.writing("sessions"):
            self._drop_links(member_id)
            sql = "INSERT INTO sign_in_links (link_id, member_id, ends_at) VALUES (?, ?, ?)"
            ends_at = time.time() + LINK_LASTS_S
            self.database.execute(sql, (hash_of_token(token), member_id, ends_at))
            note(self.database, "member.invite", member_id or "the first admin")
        return token

    def link(self, token: str) -> SignInLink:
        """Raises LinkEnded."""
        sql = "SELECT member_id, ends_at FROM sign_in_links WHERE link_id = ?"
        link_id, now = hash_of_token(token), time.time()
        rows = self.database.query(sql, (link_id,))
        if not rows or not now < rows[0][1] <= now + LINK_LASTS_S:
            raise LinkEnded
        if rows[0][0] is None:
            if self.has_admin():
                raise LinkEnded
            return SignInLink(link_id=link_id, member=None)
        members = MemberStore(self.database).of_id(rows[0][0])
        if not members or members[0].disabled_at is not None:
            raise LinkEnded
        return SignInLink(link_id=link_id, member=members[0])

    def use(self, token: str, hashed: str, name: str = "") -> MemberLevel:
        """Set the password of the link's member; the first admin is made, called `name`. Once.
        Raises LinkEnded, TenantConflict."""
        with self.database.writing("keys"), self.database.writing("sessions"):
            found = self.link(token)
            if found.member is None:
                self.database.execute("DELETE FROM sign_in_links WHERE member_id IS NULL")
            member = found.member or self._first_admin(name)
            self.database.actor = _as_member(self.database, member.member_id)
            self.set(member.member_id, hashed)
        return member

    def _first_admin(self, name: str) -> MemberLevel:
        members = MemberStore(self.database)
        there = [one for one in members.list() if one.owner is None and one.name == name]
        if there and there[0].role == "admin" and there[0].disabled_at is None:
            return there[0]
        return members.create(MemberLevel(member_id="", owner=None, name=name, role="admin"))

    def _drop_links(self, member_id: str | None) -> None:
        gone = "DELETE FROM sign_in_links WHERE member_id = ? OR ends_at <= ?"
        self.database.execute(gone, (member_id, time.time()))


def hash_of_token(token: str) -> str:
    """SHA-256 in hexadecimal: tokens are random, so nothing slower is needed."""
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()


def _as_member(database: Database, member_id: str) -> Actor:
    return Actor(kind="member", name=member_id, address=database.actor.address)
