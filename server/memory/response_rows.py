"""A kept response as it is, and as a row."""

import time
from typing import Final, Literal, TypeAlias

import msgspec

from server.ledger.database import Row
from server.memory.errors import NotKept, TooLong
from server.memory.sealing import Sealer

ResponseState: TypeAlias = Literal[
    "queued", "in_progress", "completed", "incomplete", "failed", "cancelled"
]
OPEN: Final = frozenset({"queued", "in_progress"})
MOST_TURNS: Final = 1000
MOST_CONTEXT_BYTES: Final = 32 * 2**20
"""Of a chain, or a conversation: what a request may read of what came before."""
PART_BYTES: Final = 2**20
EVENT_END: Final = b"\n\n"
PARTS_AT_ONCE: Final = 8
"""Are read: no more of a response is in memory for one who follows it."""
COLUMNS: Final = (
    "response_id, owner, created_at, expires_at, previous_id, conversation_id, is_background,"
    " status, depth, context_bytes, node, beat_at, head, turn"
)


class KeptTurn(msgspec.Struct, frozen=True, kw_only=True):
    """What a response added to its conversation: items as JSON, in order."""

    input: tuple[msgspec.Raw, ...] = ()
    output: tuple[msgspec.Raw, ...] = ()


class KeptResponse(msgspec.Struct, frozen=True, kw_only=True):
    """One of them. Times in Unix seconds."""

    response_id: str
    owner: str
    created_at: int
    expires_at: int
    status: ResponseState
    is_background: bool = False
    previous_id: str | None = None
    conversation_id: str | None = None
    depth: int = 1
    """Turns of its chain, its own among them."""
    context_bytes: int = 0
    """Of their items."""
    node: str = ""
    """Which server process runs it."""
    beat_at: int = 0
    """When that one last said so."""
    head: bytes
    """The response as JSON, without its output."""
    turn: KeptTurn

    @property
    def is_over(self) -> bool:
        return self.status not in OPEN


class EventPart(msgspec.Struct, frozen=True, kw_only=True):
    """Some events of a response's stream, whole ones."""

    part: int
    first_number: int
    events: bytes


_turn = msgspec.json.Decoder(KeptTurn).decode


def from_number(events: bytes, number: int) -> bytes:
    """Without the first so many."""
    place = 0
    for _ in range(number):
        end = events.find(EVENT_END, place)
        if end < 0:
            return b""
        place = end + len(EVENT_END)
    return events[place:]


def check_length(turns: int, context_bytes: int) -> None:
    """Raises TooLong."""
    if turns > MOST_TURNS:
        raise TooLong(f"at most {MOST_TURNS:,} responses before this one")
    if context_bytes > MOST_CONTEXT_BYTES:
        raise TooLong(f"at most {MOST_CONTEXT_BYTES:,} bytes of items before this one")


def check_time(kept_id: str, expires_at: int) -> None:
    """Raises NotKept for what is past its time, whether or not it is swept yet."""
    if expires_at <= time.time():
        raise NotKept(kept_id)


def values_of(kept: KeptResponse) -> tuple[object, ...]:
    return (
        kept.response_id,
        kept.owner,
        kept.created_at,
        kept.expires_at,
        kept.previous_id,
        kept.conversation_id,
        int(kept.is_background),
        kept.status,
        kept.depth,
        kept.context_bytes,
        kept.node,
        kept.beat_at,
    )


def opened(row: Row, sealer: Sealer, *, has_head: bool = True) -> KeptResponse:
    response_id, owner = row[:2]
    return KeptResponse(
        response_id=response_id,
        owner=owner,
        created_at=row[2],
        expires_at=row[3],
        previous_id=row[4],
        conversation_id=row[5],
        is_background=bool(row[6]),
        status=row[7],
        depth=row[8],
        context_bytes=row[9],
        node=row[10],
        beat_at=row[11],
        head=sealer.open(row[12], "head", owner, response_id) if has_head else b"",
        turn=_turn(sealer.open(row[13], "turn", owner, response_id)),
    )


CHAIN: Final = f"""
WITH RECURSIVE chain AS (
    SELECT {COLUMNS}, 1 AS place FROM memory_responses WHERE response_id = ? AND owner = ?
    UNION ALL
    SELECT {", ".join(f"r.{name.strip()}" for name in COLUMNS.split(","))}, chain.place + 1
    FROM memory_responses r JOIN chain ON r.response_id = chain.previous_id
    WHERE r.owner = ? AND chain.place < ?
)
SELECT {COLUMNS} FROM chain ORDER BY place
"""
INSERT: Final = """
INSERT INTO memory_responses (
    response_id, owner, created_at, expires_at, previous_id, conversation_id, is_background,
    status, depth, context_bytes, node, beat_at, bytes, head, turn, cancel_asked
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)
"""
ITEM: Final = """
INSERT INTO memory_items_of (owner, item_id, response_id) VALUES (?, ?, ?)
ON CONFLICT (owner, item_id) DO UPDATE SET response_id = excluded.response_id
"""
EVENTS: Final = """
INSERT INTO memory_events (response_id, part, first_number, bytes, sealed) VALUES (?, ?, ?, ?, ?)
"""
_OF: Final = """
SELECT e.part, e.first_number, e.sealed FROM memory_events e
JOIN memory_responses r ON r.response_id = e.response_id
WHERE e.response_id = ? AND r.owner = ?
"""
PARTS: Final = f"""{_OF} AND e.part >= coalesce((
    SELECT max(part) FROM memory_events WHERE response_id = ? AND first_number <= ?
), 0) ORDER BY e.part LIMIT ?
"""
LAST_PART: Final = f"{_OF} ORDER BY e.part DESC LIMIT 1"
