"""A node's exchange with its site, twice a second: that it is there, what it used of the limits
that hold for all nodes, and what it may use of them next.

One thread and one connection of its own, so that records that are shipped delay nothing. Serving
never waits for it; while the site is away the node goes on with what it was told last.
"""

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import closing, suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any

import msgspec

from server.ledger import postgres
from server.ledger.database import PostgresDatabase, SqliteDatabase
from server.ledger.meta import SITE_NODES, remember
from server.ledger.site_limits import NodeCount, SiteAnswer, answer_of, gives_back

log = logging.getLogger("fjord.ledger")

TURN_S = 0.5
SOON_S = 0.05
"""... or so long after one that told the node to keep to much less."""
RETRY_S = 2.0
LOOP_S = 30.0
"""The event loop is waited for so long."""
GOODBYE_S = 3.0
MOST_TOLD = 300
"""Characters of an error in the log."""
LOCKED_S = 0.1
"""The node's own ledger is waited for so long, as its site waits too."""
TIMEOUT = "SET statement_timeout = 5000"
EXCHANGE = "SELECT fjord_exchange(?, ?::jsonb, ?::jsonb)"


def told_shortly(error: Exception) -> str:
    """Without the statement, which a refusal of a function's has with it."""
    text = postgres.one_line(error).partition(" CONTEXT:")[0].partition(" LINE 1:")[0]
    return text if len(text) <= MOST_TOLD else f"{text[:MOST_TOLD]}…"


class NodeFacts(msgspec.Struct, kw_only=True):
    """What a node tells of itself."""

    uid: str
    name: str
    address: str | None
    version: str
    state: str
    """serving, draining, stopping, stopped."""
    divisor: int
    """Among how many nodes it divides what it was told no share of."""
    age_s: float
    joins: bool = False
    """The first on this connection, ..."""
    returns: bool = False
    """... which is not the process' first."""
    models: list[dict[str, Any]] | None = None
    """None: as they were."""


Told = tuple[NodeFacts, Sequence[NodeCount], float]
"""With when it was counted."""


class NodeExchange:
    """`tell`, `learn` and `lose` are called on the event loop; `tell` with whether it is the first
    time on a connection. `path`: the node's ledger."""

    def __init__(
        self,
        url: str,
        process: str,
        path: Path,
        tell: Callable[[bool], Told],
        learn: Callable[[SiteAnswer, float], None],
        lose: Callable[[], None],
        open_site: Callable[[str], PostgresDatabase] = postgres.open_database,
    ) -> None:
        self.url, self.process, self.path = url, process, path
        self.tell, self.learn, self.lose = tell, learn, lose
        self.open_site = open_site
        self.remote: PostgresDatabase | None = None
        self.joins = True
        """Whether the next exchange is this connection's first."""
        self.has_met = False
        self.is_away = False
        self.nodes = 0
        """As is remembered for the next start."""
        self.is_stopped = Event()
        self.thread = Thread(target=self.run, name="site-nodes", daemon=True)

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.thread.start()

    def stop(self) -> None:
        self.is_stopped.set()
        self.thread.join(GOODBYE_S)

    def run(self) -> None:
        while True:
            is_last, began = self.is_stopped.is_set(), time.monotonic()
            try:
                pause_s = SOON_S if self.turn() else TURN_S
            except Exception as error:  # whatever the driver raises: drop the connection, go on
                self.lost(error)
                pause_s = RETRY_S
            if is_last:
                break
            self.is_stopped.wait(max(0.0, pause_s - (time.monotonic() - began)))
        self.disconnect()

    def turn(self) -> bool:
        """Whether the site should hear soon what came of it."""
        if self.remote is None:
            self.remote = self.open_site(self.url)
            self.remote.execute(TIMEOUT)
            self.joins = True
        facts, counts, counted_at = self.asked_of_loop()
        facts.joins, facts.returns = self.joins, self.joins and self.has_met
        answer = self.exchanged(self.remote, facts, counts)
        self.joins, self.has_met = False, True
        if self.is_away:
            self.is_away = False
            log.warning("limits hold for the whole site again")
        with suppress(RuntimeError):  # the loop is closed
            self.loop.call_soon_threadsafe(self.learn, answer, counted_at)
        if answer.is_settled and answer.nodes != self.nodes:
            self.remember_nodes(answer.nodes)
        return gives_back(counts, facts.divisor, answer)

    def remember_nodes(self, nodes: int) -> None:
        """Where the ledger is locked, or its disk full, the next turn tries again."""
        try:
            with closing(SqliteDatabase(self.path, busy_timeout_s=LOCKED_S)) as local:
                remember(local, SITE_NODES, str(nodes))
        except sqlite3.Error:
            return
        self.nodes = nodes

    def exchanged(
        self, remote: PostgresDatabase, facts: NodeFacts, counts: Sequence[NodeCount]
    ) -> SiteAnswer:
        told = [msgspec.json.encode(each).decode() for each in (facts, counts)]
        ((answer,),) = remote.query(EXCHANGE, (self.process, *told))
        return answer_of(answer)

    def asked_of_loop(self) -> Told:
        told: Future[Told] = Future()
        self.loop.call_soon_threadsafe(self.answer_with_told, told)
        return told.result(LOOP_S)

    def answer_with_told(self, told: "Future[Told]") -> None:
        try:
            told.set_result(self.tell(self.joins))
        except Exception as error:
            told.set_exception(error)

    def lost(self, error: Exception) -> None:
        if not self.is_away:
            log.warning(
                "limits hold for this node's part of the site alone, its database is away: %s",
                told_shortly(error),
            )
        self.is_away = True
        with suppress(RuntimeError):  # the loop is closed
            self.loop.call_soon_threadsafe(self.lose)
        self.disconnect()

    def disconnect(self) -> None:
        if self.remote is not None:
            with suppress(Exception):
                self.remote.close()
            self.remote = None
