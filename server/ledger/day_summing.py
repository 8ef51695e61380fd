"""Sums a node's closed days in the background, now and then."""

import logging
import sqlite3
from contextlib import closing
from pathlib import Path
from threading import Event, Thread
from typing import Final

from server.ledger.database import SqliteDatabase
from server.ledger.day_sums import sum_closed_days

log = logging.getLogger("fjord.ledger")

FIRST_S: Final = 60.0
EVERY_S: Final = 3600.0
BREATH_S: Final = 0.1
"""Between two days: the writer's turn."""


class DaySumming:
    """A thread: the first time a minute after the start, then every hour."""

    def __init__(self, path: Path, first_s: float = FIRST_S) -> None:
        self._path = path
        self._first_s = first_s
        self._is_stopped = Event()
        self._thread = Thread(target=self._run, name="ledger-days", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Idempotent, also where it never began."""
        self._is_stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        pause_s = self._first_s
        while not self._is_stopped.wait(pause_s):
            pause_s = EVERY_S
            try:
                with closing(SqliteDatabase(self._path)) as database:
                    self._sum(database)
            except sqlite3.Error as error:  # a locked or sick file: reports read the daily sums
                log.warning("closed days are not summed: %s", error)

    def _sum(self, database: SqliteDatabase) -> None:
        for _ in sum_closed_days(database):
            if self._is_stopped.wait(BREATH_S):
                return
