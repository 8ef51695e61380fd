"""An input file looked at line by line, before a batch begins; memory bounded by one line."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from engines.host.interpreter_turns import give_way
from server.batches.input_lines import (
    BatchLine,
    NotALine,
    RawLine,
    named_body,
    raw_lines,
    read_line,
)
from server.batches.store import LineComplaint

MOST_COMPLAINTS: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class LineBounds:
    """What lines must be like."""

    endpoint: str
    most_bytes: int
    most_lines: int


@dataclass(slots=True)
class Checked:
    """What a file has: its requests' one model and number, or what is wrong with it."""

    total: int = 0
    model: str | None = None
    complaints: list[LineComplaint] = field(default_factory=list)

    def complain(self, error: NotALine, line: int | None) -> None:
        complaint = LineComplaint(
            code=error.code, message=error.message, param=error.param, line=line
        )
        self.complaints.append(complaint)


def checked(path: Path, scratch: Path, bounds: LineBounds) -> Checked:
    """Blocks. `scratch` is a file that it makes and removes: custom ids, a million of which are not
    kept in memory. Raises OSError, sqlite3.Error."""
    found = Checked()
    with open(path, "rb") as file, _seen_ids(scratch) as seen:
        for line in raw_lines(file, bounds.most_bytes):
            _look_at(line, found, seen, bounds)
            if len(found.complaints) >= MOST_COMPLAINTS or found.total > bounds.most_lines:
                break
            give_way()
    if found.total > bounds.most_lines:
        what = f"A batch may have {bounds.most_lines} requests; this file has more."
        found.complain(NotALine("too_many_requests", what), None)
    elif not found.total and not found.complaints:
        found.complain(NotALine("empty_file", "The file has no requests."), None)
    return found


def _look_at(raw: RawLine, found: Checked, seen: sqlite3.Connection, bounds: LineBounds) -> None:
    found.total += 1
    try:
        if raw.text is None:
            what = f"A line may have {bounds.most_bytes} bytes; this one has more."
            raise NotALine("line_too_long", what)
        line = read_line(raw.text)
        _check_line(line, bounds)
        _check_unseen(line, seen)
        _check_body(line, found)
    except NotALine as error:
        found.complain(error, raw.number)


def _check_line(line: BatchLine, bounds: LineBounds) -> None:
    if line.method != "POST":
        raise NotALine("invalid_method", "method must be POST.", "method")
    if line.url != bounds.endpoint:
        what = f"url must be the batch's endpoint, {bounds.endpoint}."
        raise NotALine("mismatched_endpoint", what, "url")


def _check_unseen(line: BatchLine, seen: sqlite3.Connection) -> None:
    insert = "INSERT OR IGNORE INTO seen VALUES (?)"
    if not seen.execute(insert, (line.custom_id.encode("utf-8", "replace"),)).rowcount:
        what = "An earlier line has this custom_id; each must have its own."
        raise NotALine("duplicate_custom_id", what, "custom_id")


def _check_body(line: BatchLine, found: Checked) -> None:
    body = named_body(line)
    if body.stream:
        raise NotALine("invalid_request", "A batch streams nothing: leave stream out.", "stream")
    found.model = found.model or body.model
    if body.model != found.model:
        what = "All requests of a batch must name the same model, as its first one does."
        raise NotALine("mismatched_model", what, "model")


@contextmanager
def _seen_ids(scratch: Path) -> Iterator[sqlite3.Connection]:
    scratch.unlink(missing_ok=True)
    connection = sqlite3.connect(scratch, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("CREATE TABLE seen (id BLOB PRIMARY KEY) WITHOUT ROWID")
        connection.execute("BEGIN")
        yield connection
    finally:
        connection.close()
        scratch.unlink(missing_ok=True)
