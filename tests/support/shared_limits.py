"""Nodes of a site that share its limits, in virtual time: each a Limiter and its exchange with a
real PostgreSQL, whose function is told the time instead of reading a clock."""

from collections import deque
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from importlib import import_module
from typing import Any

import msgspec

from server.accounts.limits import Admission, Limiter, LimitExceeded
from server.ledger import postgres
from server.ledger.database import PostgresDatabase
from server.ledger.node_exchange import EXCHANGE, NodeFacts
from server.ledger.records import Caller, KeyLimits
from server.ledger.site_limits import SiteAnswer, answer_of, gives_back

STEP = import_module("server.ledger.migrations.versions.v0011_nodes")
MINUTE_S = 60.0


class VirtualSite:
    """`now` is the database's time; a node's clock may run from anywhere."""

    def __init__(self, url: str) -> None:
        self.books = PostgresDatabase(postgres.connect(url))
        self.now = 1_000_000.0
        self.admitted: deque[float] = deque()
        """When requests were, on all nodes."""
        self.most = 0
        """The most that a minute has held."""
        self.books.execute("TRUNCATE nodes, limit_shares")
        self.books.execute("CREATE TABLE IF NOT EXISTS virtual_clock (at TIMESTAMPTZ)")
        self.books.execute("DELETE FROM virtual_clock")
        self.books.execute("INSERT INTO virtual_clock VALUES (to_timestamp(0))")
        told = STEP.EXCHANGE.replace("clock_timestamp()", "(SELECT c.at FROM virtual_clock c)")
        self.books.execute(told.replace("CREATE", "CREATE OR REPLACE", 1))

    def close(self) -> None:
        self.books.close()

    def exchange(self, process: str, facts: NodeFacts, counts: Any) -> SiteAnswer:
        self.books.execute("UPDATE virtual_clock SET at = to_timestamp(?)", (self.now,))
        told = [msgspec.json.encode(each).decode() for each in (facts, counts)]
        return answer_of(self.books.query(EXCHANGE, (process, *told))[0][0])

    def shares(self) -> list[tuple[Any, ...]]:
        return self.books.query("SELECT process, level_id, kind, share, used FROM limit_shares")

    def note(self) -> None:
        self.admitted.append(self.now)
        while self.admitted[0] <= self.now - MINUTE_S:
            self.admitted.popleft()
        self.most = max(self.most, len(self.admitted))


@contextmanager
def virtual_site(url: str) -> Iterator[VirtualSite]:
    with closing(VirtualSite(url)) as site:
        yield site


class VirtualNode:
    """A process of a node; `offset_s`: what its clock is off by."""

    def __init__(
        self, site: VirtualSite, name: str, *, offset_s: float = 0.0, nodes: int = 2**31
    ) -> None:
        self.site, self.name, self.offset_s = site, name, offset_s
        self.limiter = Limiter(clock=lambda: self.site.now + self.offset_s)
        self.limiter.shares.join(nodes)
        self.joins, self.has_met = True, False

    def exchange(self, *, is_answered: bool = True, state: str = "serving") -> None:
        """`is_answered` False: the answer is lost, and with it the connection."""
        shares = self.limiter.shares
        facts = NodeFacts(
            uid=self.name.partition("/")[0],
            name=self.name,
            address=None,
            version="1",
            state=state,
            divisor=shares.nodes,
            age_s=0.0,
            joins=self.joins,
            returns=self.joins and self.has_met,
        )
        asked_at, counts = self.limiter.clock(), shares.counts()
        answer = self.site.exchange(self.name, facts, counts)
        if is_answered:
            shares.learn(answer, asked_at)
            self.has_met = True
        self.joins = not is_answered
        if is_answered and gives_back(counts, facts.divisor, answer):
            self.exchange(state=state)

    def ask(self, who: Caller) -> Admission | None:
        """None: refused."""
        self.limiter.shares.lapse()
        with suppress(LimitExceeded):
            admission = self.limiter.admit(who)
            self.site.note()
            return admission
        return None

    def send(self, who: Caller, count: int) -> int:
        """How many of so many requests are admitted; each is over at once."""
        admissions = [self.ask(who) for _ in range(count)]
        for admission in filter(None, admissions):
            self.limiter.release(admission)
        return sum(each is not None for each in admissions)


def caller(key_id: str = "k", /, **limits: int) -> Caller:
    return Caller(key_id=key_id, name="n", owner="o", limits=KeyLimits(**limits))


def settled(site: VirtualSite, *nodes: VirtualNode) -> None:
    """All know of all."""
    for _ in range(3):
        for node in nodes:
            node.exchange()
        site.now += 0.5
