"""The data directory, its disk, the ledger in it, and where weights go."""

import os
import shutil
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from server.cli.doctor.diagnosis import Diagnosis, bad, note, ok
from server.cli.trouble import ROOM as ROOM_ERRORS
from server.ledger import schema
from server.ledger.errors import LedgerError
from server.ledger.sqlite import FILE_NAME
from server.settings import Settings

GIB = 2**30
ROOM, MUCH_ROOM = 1 * GIB, 10 * GIB
SYNC_S, SLOW_SYNC_S = 0.05, 0.5
"""Of a commit: answers wait for it."""
SYNCS = 9
CHECKED_BYTES = 256 * 2**20
"""A larger ledger is not read through; `fjord backup` does that."""


def data_dir(settings: Settings) -> Iterator[Diagnosis]:
    """Looked at, not made: a folder that is not there yet will be made in the one above it."""
    at = _existing(settings.data_dir.absolute())
    try:
        took_s = _sync_s(at)
    except OSError as error:
        is_full = error.errno in ROOM_ERRORS
        remedy = "make room" if is_full else "give it to this user"
        remedy += ", or name another with --data-dir"
        yield bad("data directory", f"{at} cannot be written: {error.strerror}", remedy)
        return
    is_new = "" if settings.data_dir.exists() else ", made at the first start"
    yield ok("data directory", f"{settings.data_dir.absolute()}{is_new}")
    yield _room(at)
    words = f"{took_s * 1000:.0f} ms to write for good"
    remedy = "put the data directory on a local disk: every answer waits for its record"
    if took_s > SLOW_SYNC_S:
        yield bad("disk speed", words, remedy)
    else:
        yield note("disk speed", words, remedy) if took_s > SYNC_S else ok("disk speed", words)


def weights_dir(settings: Settings) -> Iterator[Diagnosis]:
    """Where it is not in the data directory."""
    if settings.weights_dir is None:
        return
    at = _existing(settings.weights_dir.absolute())
    free = shutil.disk_usage(at).free
    words = f"{settings.weights_dir.absolute()}, {free / GIB:.1f} GiB free"
    if not os.access(at, os.W_OK):
        words, remedy = f"{words}, and cannot be written", "nothing is fetched into it"
        yield note("weights' place", words, remedy)
    elif free < MUCH_ROOM:
        yield note("weights' place", words, "`fjord plan` says how much weights want")
    else:
        yield ok("weights' place", words)


def _existing(path: Path) -> Path:
    return next(folder for folder in (path, *path.parents) if folder.is_dir())


def _sync_s(folder: Path) -> float:
    took = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(SYNCS):
            began = time.monotonic()
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
            took.append(time.monotonic() - began)
    return statistics.median(took)


def _room(folder: Path) -> Diagnosis:
    free = shutil.disk_usage(folder).free
    words = f"{free / GIB:.1f} GiB free"
    if free < ROOM:
        return bad("disk room", words, "make room: without it no answer can be billed, nor given")
    if free < MUCH_ROOM:
        return note("disk room", words, "weights want more; `fjord plan` says how much")
    return ok("disk room", words)


def ledger(settings: Settings) -> Iterator[Diagnosis]:
    path = settings.data_dir / FILE_NAME
    if not path.exists():
        yield ok("ledger", "none yet, made at the first start")
        return
    is_large = path.stat().st_size > CHECKED_BYTES
    remedy = "restore a copy of `fjord backup`"
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            check = "quick_check(1)" if not is_large else "schema_version"
            [found] = connection.execute(f"PRAGMA {check}").fetchone()
            is_behind = schema.sqlite_schema(connection).is_behind(str(path))
            [count] = connection.execute("SELECT count(*) FROM records").fetchone()
    except LedgerError as error:
        yield bad("ledger", str(error), "")
        return
    except sqlite3.Error as error:
        yield bad("ledger", f"it cannot be read: {error}", remedy)
        return
    if not is_large and found != "ok":
        yield bad("ledger", f"it is damaged: {str(found)[:100]}", remedy)
        return
    steps = ", brought to the newest schema at the next start" if is_behind else ""
    yield ok("ledger", f"{count:,} records{steps}")
