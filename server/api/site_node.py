"""This server as a node of its site: what it tells the site, and what it makes of the answers."""

import asyncio
import time
from contextlib import closing, suppress
from typing import Any

from engines.fleet.fleet import Fleet
from server import __version__
from server.accounts.limits import Limiter
from server.ledger.database import SqliteDatabase
from server.ledger.ledger import Ledger
from server.ledger.meta import SITE_NODES, remembered
from server.ledger.node_exchange import NodeExchange, NodeFacts, Told
from server.ledger.node_name import process_of
from server.ledger.node_store import SiteNodeRow
from server.ledger.site_limits import GONE_S, UNKNOWN_NODES, SiteAnswer
from server.requests.supervisor import Supervisor

FIRST_S = 2.0
"""A start waits so long for the site's nodes to know of this one, unless their database is away."""


class SiteNode:
    """Belongs to the event loop. Without a site it does nothing."""

    def __init__(
        self,
        ledger: Ledger,
        limiter: Limiter,
        fleet: Fleet,
        supervisor: Supervisor,
        name: str,
        address: str | None = None,
    ) -> None:
        self._ledger, self._fleet, self._supervisor = ledger, fleet, supervisor
        self._shares = limiter.shares
        self._clock = limiter.clock
        self._name, self._address = name, address
        self._began = time.monotonic()
        self._models: list[dict[str, Any]] | None = None
        self._exchange: NodeExchange | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._may_start = asyncio.Event()
        self._is_stopped = False
        self.process = ""
        """Its name among all processes that the site's nodes ever were."""
        self.is_drained = False
        """An operator wants nobody to send new work here."""

    async def start(self) -> None:
        path = self._ledger.path
        self.process = await asyncio.to_thread(process_of, path)
        if (url := self._ledger.ledger_url) is None:
            return
        self._shares.join(UNKNOWN_NODES)
        self._exchange = NodeExchange(url, self.process, path, self.tell, self.learn, self.lost)
        self._exchange.start(asyncio.get_running_loop())
        with suppress(TimeoutError):
            await asyncio.wait_for(self._may_start.wait(), FIRST_S)
        if self._shares.heard_at is None and (nodes := await asyncio.to_thread(self._nodes_before)):
            self._shares.divide(nodes)

    def _nodes_before(self) -> int | None:
        """How many nodes the site had when this one last asked."""
        with closing(SqliteDatabase(self._ledger.path)) as local:
            found = remembered(local, SITE_NODES)
        return int(found) if found else None

    def row(self) -> SiteNodeRow:
        """As a site's database would have it."""
        uid = self.process.partition("/")[0]
        return SiteNodeRow(
            process=self.process,
            node_uid=uid,
            name=self._name or uid,
            address=self._address,
            version=__version__,
            state=self.state,
            is_drained=self.is_drained,
            age_s=time.monotonic() - self._began,
            silent_s=0.0,
            models=self._served(),
        )

    async def stop(self) -> None:
        self._is_stopped = True
        if self._exchange is not None:
            await asyncio.to_thread(self._exchange.stop)
        if self._timer is not None:
            self._timer.cancel()

    @property
    def is_known(self) -> bool:
        """False: other servers of the site do not know of this one yet, which has one of each
        limit until they do."""
        return self._exchange is None or self._may_start.is_set()

    @property
    def state(self) -> str:
        if self._is_stopped:
            return "stopped"
        if self._supervisor.draining:
            return "stopping"
        return "draining" if self.is_drained else "serving"

    def tell(self, joins: bool) -> Told:
        counted_at = self._clock()
        row = self.row()
        is_news = joins or row.models != self._models
        self._models = row.models
        facts = NodeFacts(
            uid=row.node_uid,
            name=row.name,
            address=row.address,
            version=row.version,
            state=row.state,
            divisor=self._shares.nodes,
            age_s=row.age_s,
            models=row.models if is_news else None,
        )
        return facts, self._shares.counts(), counted_at

    def _served(self) -> list[dict[str, Any]]:
        """Each alias, its engine's state, and what runs on it and waits for it."""
        return [
            {"alias": alias, "state": e.state, "requests": e.leases, "waiting": e.waiting}
            for e in self._fleet.statuses()
            if e.kind != "peer"
            for alias in e.aliases
        ]

    def learn(self, answer: SiteAnswer, counted_at: float) -> None:
        self._shares.learn(answer, counted_at)
        self.is_drained = answer.is_drained
        if answer.is_settled:
            self._may_start.set()
        self._lapse_in(GONE_S - (self._clock() - counted_at))

    def lost(self) -> None:
        """The site's database is away."""
        self._may_start.set()

    def _lapse_in(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(max(0.0, seconds), self._lapse)

    def _lapse(self) -> None:
        if (again_s := self._shares.lapse()) is not None:
            self._lapse_in(again_s + 0.01)
