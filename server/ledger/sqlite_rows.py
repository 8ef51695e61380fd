"""UsageRecord <-> the rows of the local ledger, and the JSON of an open request."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from server.ledger import sqlite
from server.ledger.records import UsageRecord

KIND_COLUMNS = (
    "key_id",
    "owner",
    "alias",
    "weights",
    "revision",
    "endpoint",
    "stream",
    "end",
    "finish_reason",
    "region",
    "price_input",
    "price_cached",
    "price_output",
    "currency",
    "node",
)
CACHED_WORDS = 50_000
US = 1_000_000

INSERT_RECORDS = (
    "INSERT INTO records (record_id, kind, agent, user, started_us, ttft_us, duration_us,"
    " prompt_tokens, cached_tokens, completion_tokens, reasoning_tokens, amount)"
    f" SELECT {', '.join(f'''json_extract(value, '$[{i}]')''' for i in range(12))}"
    " FROM json_each(?)"
)
"""All records of a batch in one statement: the GIL is handed over once a batch, not once a row,
and a busy event loop gives it back only after 5 ms each time."""

INSERT_OPEN = (
    "INSERT INTO open_requests (record_id, record)"
    " SELECT json_extract(value, '$.record_id'), value FROM json_each(?) WHERE true"
    " ON CONFLICT (record_id) DO UPDATE SET record = excluded.record"
)

encode_open = msgspec.json.Encoder().encode
decode_open = msgspec.json.Decoder(UsageRecord).decode


class SqliteRows:
    """Turns records into rows; remembers the ids of kinds and words. Belongs to one writer.

    What a transaction inserts is remembered once it is committed: after a rollback its ids go to
    somebody else's kinds and words.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        columns = ", ".join(f'"{name}"' for name in KIND_COLUMNS)
        self.insert_kind = (
            f"INSERT INTO kinds ({columns}) VALUES ({', '.join('?' * len(KIND_COLUMNS))})"
        )
        found = connection.execute(f"SELECT id, {columns} FROM kinds")
        self.kinds: dict[tuple[Any, ...], int] = {row[1:]: row[0] for row in found}
        self.words: dict[str | None, int] = {None: 0, "": 0}
        self.forget_new()

    def forget_new(self) -> None:
        self.new_kinds: dict[tuple[Any, ...], int] = {}
        self.new_words: dict[str | None, int] = {}

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """One write transaction; `batch` is used in one alone."""
        try:
            with sqlite.immediate(self.connection):
                yield
            self.keep_new()
        finally:
            self.forget_new()

    def keep_new(self) -> None:
        self.kinds |= self.new_kinds
        if len(self.words) > CACHED_WORDS:
            self.words = {None: 0, "": 0}
        self.words |= self.new_words

    def row(self, record: UsageRecord) -> tuple[Any, ...]:
        ttft_us = None if record.ttft_s is None else round(record.ttft_s * US)
        return (
            record.record_id,
            self.kind_id(record),
            self.word_id(record.agent_id),
            self.word_id(record.user),
            round(record.started_at * US),
            ttft_us,
            round(record.duration_s * US),
            record.prompt_tokens,
            record.cached_tokens,
            record.completion_tokens,
            record.reasoning_tokens,
            record.amount,
        )

    def batch(self, records: list[UsageRecord]) -> str:
        """The parameter of INSERT_RECORDS."""
        return msgspec.json.encode([self.row(record) for record in records]).decode()

    def kind_id(self, record: UsageRecord) -> int:
        kind = (
            record.key_id,
            record.owner,
            record.alias,
            record.weights,
            record.revision,
            record.endpoint,
            int(record.stream),
            record.end,
            record.finish_reason,
            record.region,
            record.price_input,
            record.price_cached,
            record.price_output,
            record.currency,
            record.node,
        )
        found = self.kinds.get(kind)
        if found is None:
            found = self.new_kinds.get(kind)
        if found is None:
            found = self.connection.execute(self.insert_kind, kind).lastrowid
            assert found is not None
            self.new_kinds[kind] = found
        return found

    def word_id(self, word: str | None) -> int:
        found = self.words.get(word)
        if found is None:
            found = self.new_words.get(word)
        if found is None:
            found = self.new_words[word] = self.stored_word_id(word or "")
        return found

    def stored_word_id(self, word: str) -> int:
        word = (
            word.encode(errors="replace").decode().replace("\0", "\ufffd")
        )  # no database takes it
        self.connection.execute(
            "INSERT INTO words (word) VALUES (?) ON CONFLICT DO NOTHING", (word,)
        )
        row = self.connection.execute("SELECT id FROM words WHERE word = ?", (word,)).fetchone()
        return int(row[0])
