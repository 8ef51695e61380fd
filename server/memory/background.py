"""Responses that run without their client: claimed, alive, cancelled, and lost with their server.

The process that runs one says so every second. Where it does not for long, or another process
starts as the same node, the response has failed: it is never in progress for ever.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from server.ledger.database import Database
from server.memory.errors import NotKept, TooManyOpen
from server.memory.response_rows import EVENT_END, PART_BYTES, EventPart, KeptResponse
from server.memory.responses import ResponseStore

LOST_S: Final = 60
"""A process that said nothing for so long is gone."""
_LOST: Final = "The server that ran this response stopped before its end; ask again."


class BackgroundStore:
    """Blocks: off the event loop, from any thread. Raises MemoryTrouble. `node`: this process."""

    def __init__(self, responses: ResponseStore, node: str, most_open: int) -> None:
        self.responses, self.node, self.most_open = responses, node, most_open
        self.lost = 0
        """How many were found whose process is gone."""

    def claim(self, kept: KeptResponse, events: bytes) -> None:
        """Raises TooManyOpen, MemoryFull."""
        with self.responses.vault.transaction() as database:
            self.responses.owners.sealer_to_keep(database, kept.owner)
            # of two at once the second waits here, and counts the first
            self.responses.owners.check_room(database, kept.owner)
            database.execute(_TOUCH, (kept.owner,))
            if database.query(_COUNT, (kept.owner,))[0][0] >= self.most_open:
                raise TooManyOpen(
                    f"An owner may have {self.most_open} background responses that are not over."
                )
            kept = replace(kept, node=self.node, beat_at=int(time.time()))
            self.responses.write(database, kept)
            parts = parts_of(events, 0, 0)
            self.responses.write_events(database, kept.owner, kept.response_id, parts)

    def add(
        self, owner: str, response_id: str, parts: Sequence[EventPart], *, is_running: bool
    ) -> bool:
        """Say that it is alive, with its new events; whether it is to go on. Raises MemoryFull."""
        status = "in_progress" if is_running else "queued"
        with self.responses.vault.transaction() as database:
            rows = database.query(_GOES_ON, (response_id, owner))
            if not rows or rows[0][0]:
                return False
            database.execute(_BEAT, (int(time.time()), status, response_id))
            self.responses.write_events(database, owner, response_id, parts)
        return True

    def ask_cancel(self, response_id: str, owner: str) -> None:
        """The process that runs it will see it."""
        with self.responses.vault.transaction() as database:
            database.execute(_ASK_CANCEL, (response_id, owner))

    def end_lost(self, own: Callable[[], Sequence[str]] = tuple) -> int:
        """Those whose process is gone have failed; `own`: what this process runs, asked once they
        are known: what begins meanwhile is none of them. How many."""
        if not self.responses.vault.is_there:
            return 0
        with self.responses.vault.transaction() as database:
            found = database.query(_OPEN)
        running = own()
        lost = [row[:2] for row in found if row[0] not in running and self._is_lost(*row[2:])]
        for response_id, owner in lost:
            with suppress(NotKept), self.responses.vault.transaction() as database:
                self._fail(database, response_id, owner)
        self.lost += len(lost)
        return len(lost)

    def _is_lost(self, node: str, beat_at: int) -> bool:
        is_others = _name(node) != _name(self.node)
        return not is_others or beat_at <= time.time() - LOST_S

    def _fail(self, database: Database, response_id: str, owner: str) -> None:
        """Raises NotKept where it has ended meanwhile."""
        kept = self.responses.found(database, response_id, owner)
        last = self.responses.last_part(database, response_id, owner)
        number = last.first_number + last.events.count(EVENT_END) if last else 0
        response = msgspec.json.decode(kept.head) | {
            "status": "failed",
            "error": {"code": "server_error", "message": _LOST},
        }
        event = _event(response, number)
        part = last.part + 1 if last else 0
        self.responses.write(
            database, replace(kept, status="failed", head=msgspec.json.encode(response))
        )
        ended = EventPart(part=part, first_number=number, events=event)
        self.responses.write_events(database, owner, response_id, [ended], is_bound=False)


def parts_of(events: bytes, first_part: int, first_number: int) -> list[EventPart]:
    """Whole events in parts of PART_BYTES and a little more."""
    out: list[EventPart] = []
    while events:
        end = events.find(EVENT_END, PART_BYTES)
        piece = events if end < 0 else events[: end + 2]
        events = events[len(piece) :]
        out.append(EventPart(part=first_part + len(out), first_number=first_number, events=piece))
        first_number += piece.count(EVENT_END)
    return out


def _event(response: Any, number: int) -> bytes:
    payload = {"type": "response.failed", "response": response, "sequence_number": number}
    return b"event: response.failed\ndata: " + msgspec.json.encode(payload) + b"\n\n"


def _name(node: str) -> str:
    """The node of a process: what stands before its own word."""
    return node.partition("/")[0]


_TOUCH: Final = "UPDATE memory_owners SET bytes = bytes WHERE owner = ?"
_COUNT: Final = """
SELECT count(*) FROM memory_responses WHERE owner = ? AND status IN ('queued', 'in_progress')
"""
_OPEN: Final = """
SELECT response_id, owner, node, beat_at FROM memory_responses
WHERE status IN ('queued', 'in_progress')
"""
_GOES_ON: Final = """
SELECT cancel_asked FROM memory_responses
WHERE response_id = ? AND owner = ? AND status IN ('queued', 'in_progress')
"""
_BEAT: Final = """
UPDATE memory_responses SET beat_at = ?, status = ?
WHERE response_id = ? AND status IN ('queued', 'in_progress')
"""
_ASK_CANCEL: Final = """
UPDATE memory_responses SET cancel_asked = 1 WHERE response_id = ? AND owner = ?
"""
