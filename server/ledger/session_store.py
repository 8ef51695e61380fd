"""Who has signed in: a row a session, by the hash of its token. A row that is gone has ended."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from server.ledger.audit import note
from server.ledger.database import Database
from server.ledger.tenants import Role

LASTS_S: Final = 12 * 3600.0
IDLE_S: Final = 2 * 3600.0
SEEN_EVERY_S: Final = 60.0
"""So often it is written that somebody is there."""
MOST_OF_MEMBER: Final = 20
"""The one that was seen last longest ago ends for another."""
MOST_WORDS: Final = 200

COLUMNS: Final = ("session_id", "member_id", "began_at", "seen_at", "ends_at", "address", "agent")
SELECT: Final = f"""
SELECT {", ".join(f"s.{name}" for name in COLUMNS)},
       m.name, m.owner, m.role, m.disabled_at, o.archived_at
FROM sessions s JOIN members m ON m.member_id = s.member_id
LEFT JOIN owners o ON o.name = m.owner
"""
INSERT: Final = f"INSERT INTO sessions ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * 7)})"
CROWDED: Final = f"""
DELETE FROM sessions WHERE session_id IN (
    SELECT session_id FROM sessions WHERE member_id = ? ORDER BY seen_at DESC
    LIMIT 1000 OFFSET {MOST_OF_MEMBER - 1})
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRow:
    """A session that holds, and whose it is. Times in Unix seconds."""

    session_id: str
    member_id: str
    began_at: float
    seen_at: float
    ends_at: float
    address: str
    agent: str
    """What the browser calls itself."""
    name: str
    owner: str | None
    role: Role

    @property
    def is_to_be_seen(self) -> bool:
        """Whether it is time to write that somebody is there."""
        now = time.time()
        return now - self.seen_at > SEEN_EVERY_S or self.seen_at > now


class SessionStore:
    """On SQLite and on PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def begin(self, session_id: str, member_id: str, how: str, address: str, agent: str) -> None:
        """`how`: password, link, or the issuer's name. Others of the member go on."""
        now = time.time()
        words = (address[:MOST_WORDS], agent[:MOST_WORDS])
        with self.database.writing("sessions"):
            self.prune(now)
            self.database.execute(CROWDED, (member_id,))
            row = (session_id, member_id, now, now, now + LASTS_S, *words)
            self.database.execute(INSERT, row)
            note(self.database, "session.begin", member_id, None, {"by": how[:MOST_WORDS]})

    def find(self, session_id: str) -> SessionRow | None:
        """None: it has ended, or its member is disabled, or its owner archived."""
        now = time.time()
        rows = self.database.named(f"{SELECT} WHERE s.session_id = ?", (session_id,))
        found = next((row for row in map(_from, rows) if row is not None), None)
        return None if found is None or not _holds(found, now) else found

    def see(self, session_id: str) -> None:
        """Somebody is there."""
        seen = "UPDATE sessions SET seen_at = ? WHERE session_id = ?"
        self.database.execute(seen, (time.time(), session_id))

    def of_member(self, member_id: str) -> list[SessionRow]:
        """Those that hold, the newest first."""
        now = time.time()
        sql = f"{SELECT} WHERE s.member_id = ? ORDER BY s.began_at DESC"
        rows = map(_from, self.database.named(sql, (member_id,)))
        return [row for row in rows if row is not None and _holds(row, now)]

    def end(self, session_id: str, member_id: str) -> bool:
        """Whether there was one of that member."""
        sql = "DELETE FROM sessions WHERE session_id = ? AND member_id = ?"
        with self.database.writing("sessions"):
            ended = self.database.execute(sql, (session_id, member_id))
            if ended:
                note(self.database, "session.end", member_id)
        return bool(ended)

    def end_all(self, member_id: str) -> int:
        """How many there were."""
        with self.database.writing("sessions"):
            sql = "DELETE FROM sessions WHERE member_id = ?"
            ended = self.database.execute(sql, (member_id,))
            if ended:
                note(self.database, "session.end", member_id, None, {"sessions": ended})
        return ended

    def prune(self, now: float) -> None:
        sql = "DELETE FROM sessions WHERE ends_at <= ? OR seen_at <= ?"
        self.database.execute(sql, (now, now - IDLE_S))


def _holds(row: SessionRow, now: float) -> bool:
    return row.ends_at > now and row.seen_at + IDLE_S > now and row.began_at <= now + IDLE_S


def _from(row: Mapping[str, Any]) -> SessionRow | None:
    if row["disabled_at"] is not None or row["archived_at"] is not None:
        return None
    names = (*COLUMNS, "name", "owner", "role")
    return SessionRow(**{name: row[name] for name in names})
