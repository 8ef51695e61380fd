"""A node's part in a site: keys come from PostgreSQL, records and sums go there.

One background thread; serving never waits for it. While the site cannot be reached the node goes on
with the keys and budgets it knows, for `stale_s` seconds; afterwards it catches up. A record is
shipped again when in doubt, and counts once: its id is the site's primary key, and only rows that
were really inserted are added to the sums, in the same statement (shipping.py).
"""

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from math import inf, isfinite
from pathlib import Path
from threading import Event, Thread
from typing import Any

import msgspec

from server.ledger import postgres
from server.ledger.actors import Actor
from server.ledger.audit import note
from server.ledger.audit_forms import told
from server.ledger.budgets import Budgets
from server.ledger.database import Database, PostgresDatabase, Row, SqliteDatabase
from server.ledger.errors import LedgerError
from server.ledger.key_mirror import mirrored
from server.ledger.key_store import KeyStore
from server.ledger.meta import KEYS_OF_SITE, remember, remembered
from server.ledger.shipping import BATCH, Shipping
from server.ledger.site_sql import (
    FORGET_RESERVATIONS,
    JOIN_KEYS,
    MARKS_ELSEWHERE,
    RESERVE,
    RESERVED_ELSEWHERE,
)
from server.ledger.spending import spent_elsewhere
from server.ledger.tenant_tree import TenantTree

log = logging.getLogger("fjord.ledger")

TURN_S = 0.5
"""Keys are looked at so often; with a node's own watch a change is in effect after two turns."""
RETRY_S = 2.0
REREAD_S = 10.0
"""What the others spent is read again after this time also where nothing seems new."""
GOODBYE_S = 3.0
AWAY = "it cannot be reached or used; the server's log says why"
"""What clients are told: the driver's words hold hosts and users."""


class SiteReplication:
    """Started and stopped by the Ledger; everything else happens on its own thread."""

    def __init__(
        self,
        path: Path,
        url: str,
        stale_s: float,
        budgets: Budgets,
        open_site: Callable[[str], PostgresDatabase] = postgres.open_database,
    ) -> None:
        self.open_site = open_site
        self.url = url
        self.stale_s = stale_s
        self.budgets = budgets
        self.local = SqliteDatabase(path)
        self.remote: PostgresDatabase | None = None
        self.node_uid = str(remembered(self.local, "node_uid"))
        self.keys_seen = -1
        self.shipping = Shipping(self.local, self.node_uid)
        self.set_aside = 0
        """Records that the site's database refused."""
        self.unshipped = 0
        """Records that the site does not have yet, also while it is away."""
        self.elsewhere: list[Row] = []
        self.elsewhere_of: Any = None
        """What `elsewhere` was read for: the budgets and how far the others' records were."""
        self.elsewhere_at = 0.0
        self.told: set[str] = set()
        """Levels of which the site holds a reservation of ours that is not 0."""
        self.seen_at = last_contact(self.local)
        """By a clock that nobody sets; -inf: never."""
        self.noted_at = 0.0
        """By the clock on the wall, which the next start reads it by."""
        self.trouble: str | None = None
        self.is_stopped = Event()

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        known = remembered(self.local, "elsewhere")
        if known:
            self.tell_budgets([tuple(row) for row in msgspec.json.decode(known)])
        self.thread = Thread(target=self.run, name="ledger-site", daemon=True)
        self.thread.start()

    def stop(self) -> None:
        """A last turn, if the site answers soon; what is not shipped waits for the next start."""
        self.is_stopped.set()
        self.thread.join(GOODBYE_S)

    def health(self) -> str | None:
        """Why the keys and budgets are too old to serve with; None while they are not."""
        away_s = time.monotonic() - self.seen_at
        if away_s <= self.stale_s:
            return None
        since = f"for {away_s:.0f} s" if isfinite(away_s) else "yet"
        return f"The site's database was not reached {since}: {self.trouble or 'not tried'}"

    def run(self) -> None:
        while True:
            is_last = self.is_stopped.is_set()
            pause_s = RETRY_S
            try:
                pause_s = 0.0 if self.turn() else TURN_S
            except sqlite3.Error as error:
                log.warning("the site waits for the local ledger: %s", error)
            except Exception as error:  # whatever the driver raises: drop the connection, go on
                self.lost(error)
            if is_last:
                break
            self.is_stopped.wait(pause_s)
        self.disconnect()
        self.local.close()

    def turn(self) -> bool:
        """Everything once; True while records wait to be shipped."""
        self.unshipped = self.shipping.count_unshipped()
        if self.remote is None:
            self.connect()
        assert self.remote is not None
        self.keys_seen = mirrored(self.local, self.remote, self.keys_seen)
        self.tell_reservations(self.remote)
        if self.shipping.was_restored:
            self.regain(self.remote)
        self.shipping.queue_again()
        shipped = self.shipping.ship(self.remote)
        self.set_aside = self.shipping.count_set_aside()
        self.unshipped = self.shipping.count_unshipped()
        self.learn_spending(self.remote)
        self.note_contact()
        return shipped == BATCH

    def connect(self) -> None:
        self.remote = self.open_site(self.url)
        self.remote.execute(FORGET_RESERVATIONS, (self.node_uid,))
        self.shipping.meet(self.remote)
        self.keys_seen = -1
        if remembered(self.local, "site") is None:
            self.bring_keys(self.remote)
        remember(self.local, KEYS_OF_SITE, "1")
        if self.trouble:
            log.warning("the site's database is back")

    def regain(self, remote: PostgresDatabase) -> None:
        """It may take a while, and the node knows all that it needs to serve meanwhile."""
        self.learn_spending(remote)
        self.note_contact()
        self.shipping.regain(remote)
        self.on_loop(self.budgets.read_all_anew)

    def lost(self, error: Exception) -> None:
        text = str(error) if isinstance(error, LedgerError) else postgres.one_line(error)
        if self.trouble is None:
            log.warning("the site's database is away, serving on what is known: %s", text)
        self.trouble = AWAY
        self.disconnect()

    def disconnect(self) -> None:
        if self.remote is not None:
            with suppress(Exception):
                self.remote.close()
            self.remote = None

    def bring_keys(self, remote: PostgresDatabase) -> None:
        """A node that joins a site brings the keys it has, with their owners and members; the
        site's own win."""
        remote.actor = Actor(kind="command", name=f"a node that joins: {self.node_uid}")
        with remote.writing("keys"):
            members = TenantTree.read(self.local).brought(remote)
            for key in KeyStore(self.local).list():
                known = remote.query(JOIN_KEYS, (key.key_id, key.secret_hash))
                if not known:
                    member = members.get(key.member_id or "")
                    brought = replace(key, member_id=member)
                    KeyStore(remote).save(brought)
                    note(remote, "key.create", key.key_id, None, told(brought))
        remember(self.local, "site", "joined")

    def tell_reservations(self, remote: PostgresDatabase) -> None:
        """What our open requests may yet cost; before what has ended is shipped, so that a request
        which ends now is rather counted twice than not at all."""
        held = self.budgets.reservations()
        news = {key: had for key, had in held.items() if had[1] or key in self.told}
        news |= dict.fromkeys(self.told - held.keys(), ("", 0))
        if news:
            rows = [{"key_id": k, "unit": unit, "reserved": n} for k, (unit, n) in news.items()]
            remote.execute(RESERVE, (self.node_uid, msgspec.json.encode(rows).decode()))
        self.told = {key for key, (_, n) in news.items() if n}

    def learn_spending(self, remote: PostgresDatabase) -> None:
        """What budgeted levels have spent on the other nodes."""
        starts = {
            a.level_id: (a.kind, a.counted, a.start_day)
            for a in list(self.budgets.accounts.values())
        }
        if not starts:
            return
        read_for = (starts, self.keys_seen, remote.query(MARKS_ELSEWHERE, (self.node_uid,)))
        now = time.monotonic()
        if read_for != self.elsewhere_of or now - self.elsewhere_at > REREAD_S:
            rows = spent_elsewhere(remote, starts, self.node_uid)
            self.elsewhere_of, self.elsewhere_at = read_for, now
            if rows != self.elsewhere:
                self.elsewhere = rows
                remember(self.local, "elsewhere", msgspec.json.encode(rows).decode())
        held = remote.query(RESERVED_ELSEWHERE, (self.node_uid, list(starts)))
        self.tell_budgets(self.elsewhere, held)

    def tell_budgets(self, rows: Iterable[Row], held: Iterable[Row] = ()) -> None:
        self.on_loop(self.budgets.learn, list(rows), list(held))

    def on_loop(self, work: Callable[..., None], *arguments: Any) -> None:
        with suppress(RuntimeError):  # the loop is closed
            self.loop.call_soon_threadsafe(work, *arguments)

    def note_contact(self) -> None:
        self.trouble = None
        self.seen_at, now = time.monotonic(), time.time()
        if abs(now - self.noted_at) > self.stale_s / 100:
            self.noted_at = now
            remember(self.local, "site_seen_at", str(now))


def last_contact(local: Database) -> float:
    """When the node last saw its site, as time.monotonic() counts; -inf: never. One that the clock
    says is yet to come was now, at the latest."""
    noted = remembered(local, "site_seen_at")
    return time.monotonic() - max(0.0, time.time() - float(noted)) if noted else -inf
