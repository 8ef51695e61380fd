"""A node's exchange with its site, with a database that is said: nonsense, and troubles at home."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest

from server.ledger import node_exchange, sqlite
from server.ledger.database import SqliteDatabase
from server.ledger.meta import SITE_NODES, remembered
from server.ledger.node_exchange import NodeExchange, NodeFacts, Told, told_shortly
from server.ledger.site_limits import SiteAnswer
from tests.support.nodes import until

pytestmark = pytest.mark.anyio
GOOD = {"nodes": 2, "is_settled": True, "is_drained": False, "is_alone": False, "shares": []}


class SaidSite:
    """Answers what `answer` is."""

    def __init__(self) -> None:
        self.answer: Any = GOOD
        self.opened = 0

    def open(self, url: str) -> Any:
        self.opened += 1
        return self

    def execute(self, sql: str) -> int:
        return 0

    def query(self, sql: str, parameters: tuple[Any, ...]) -> Any:
        return [(self.answer,)]

    def close(self) -> None:
        pass


class Heard:
    """What came of it, on the loop."""

    def __init__(self) -> None:
        self.learned: list[SiteAnswer] = []
        self.lost = 0
        self.tell_fails = False

    def tell(self, joins: bool) -> Told:
        if self.tell_fails:
            raise RuntimeError("a fault of ours")
        return NodeFacts(**FACTS), [], 0.0

    def learn(self, answer: SiteAnswer, counted_at: float) -> None:
        self.learned.append(answer)

    def lose(self) -> None:
        self.lost += 1


FACTS: dict[str, Any] = {
    "uid": "n",
    "name": "n",
    "address": None,
    "version": "1",
    "state": "serving",
    "divisor": 1,
    "age_s": 0.0,
}


@asynccontextmanager
async def exchanging(path: Path, site: SaidSite) -> AsyncIterator[Heard]:
    heard = Heard()
    ends = (heard.tell, heard.learn, heard.lose)
    exchange = NodeExchange("", "n/1", path, *ends, open_site=site.open)
    exchange.start(asyncio.get_running_loop())
    try:
        yield heard
    finally:
        await asyncio.to_thread(exchange.stop)
        assert not exchange.thread.is_alive()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TURN_S", "RETRY_S", "LOCKED_S"):
        monkeypatch.setattr(node_exchange, name, 0.01)


def more_than(heard: Heard, count: int) -> Callable[[], bool]:
    before = len(heard.learned)
    return lambda: len(heard.learned) > before + count


async def test_a_ledger_that_is_locked_keeps_no_node_from_its_site(tmp_path: Path) -> None:
    path, site = sqlite.prepared_ledger(tmp_path), SaidSite()
    with closing(SqliteDatabase(path)) as other:
        other.connection.execute("BEGIN IMMEDIATE")
        async with exchanging(path, site) as heard:
            await until(more_than(heard, 5))
            assert (heard.lost, site.opened) == (0, 1)
            other.connection.execute("ROLLBACK")
            await until(lambda: remembered(other, SITE_NODES) == "2")


async def test_a_ledger_that_is_gone_keeps_no_node_from_its_site(tmp_path: Path) -> None:
    path, site = sqlite.prepared_ledger(tmp_path / "data"), SaidSite()
    shutil.rmtree(tmp_path / "data")
    async with exchanging(path, site) as heard:
        await until(more_than(heard, 5))
        assert (heard.lost, site.opened) == (0, 1)


@pytest.mark.parametrize("nonsense", [None, {}, [], "x", 7, {**GOOD, "more": 1}, GOOD["shares"]])
async def test_nonsense_is_a_site_that_is_away_until_it_makes_sense(
    tmp_path: Path, nonsense: Any
) -> None:
    path, site = sqlite.prepared_ledger(tmp_path), SaidSite()
    async with exchanging(path, site) as heard:
        await until(more_than(heard, 1))
        site.answer = nonsense
        await until(lambda: heard.lost > 2)
        site.answer = GOOD
        await until(more_than(heard, 3))
        assert all(answer.nodes == 2 for answer in heard.learned)


async def test_a_fault_of_ours_ends_no_exchange(tmp_path: Path) -> None:
    async with exchanging(sqlite.prepared_ledger(tmp_path), SaidSite()) as heard:
        heard.tell_fails = True
        await until(lambda: heard.lost > 2)
        heard.tell_fails = False
        await until(more_than(heard, 3))


def test_the_log_has_what_is_wrong_and_no_statement() -> None:
    refusal = RuntimeError('cannot execute INSERT\nCONTEXT:  SQL statement "WITH told AS (…')
    assert told_shortly(refusal) == "cannot execute INSERT"
    assert len(told_shortly(RuntimeError("x" * 10_000))) == 301
