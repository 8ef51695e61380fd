"""How far the running requests got: all of them in one row, rewritten a few times a second.

The row is the whole state, so only the last one counts. An entry of its own for each request and
time cost 40 us; a share of this row costs one or two.
"""

import sqlite3
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from server.ledger.records import UsageRecord

NAME = "progress"
REMEMBER = (
    f"INSERT INTO meta (name, value) VALUES ('{NAME}', ?)"
    " ON CONFLICT (name) DO UPDATE SET value = excluded.value"
)


class Reached(NamedTuple):
    """What changes in a record while its request runs."""

    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    ttft_s: float | None


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Reached]).decode


def reached_by(record: UsageRecord) -> Reached:
    return Reached(
        record.prompt_tokens,
        record.cached_tokens,
        record.completion_tokens,
        record.reasoning_tokens,
        record.ttft_s,
    )


def encode_progress(requests: Iterable[tuple[str, Reached]]) -> str:
    """The row's text; `requests`: record ids and how far each got."""
    return _encode(dict(requests)).decode()


def take_progress(connection: sqlite3.Connection, records: Iterable[UsageRecord]) -> None:
    """Set in `records` what the row knows of them, and forget the row."""
    rows = connection.execute("DELETE FROM meta WHERE name = ? RETURNING value", (NAME,))
    reached = {id_: state for (text,) in rows.fetchall() for id_, state in _decode(text).items()}
    for record in records:
        if state := reached.get(record.record_id):
            for name, value in state._asdict().items():
                setattr(record, name, value)
