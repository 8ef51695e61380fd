"""A site's store whose database comes and goes: what could not be written is written later, in
bounds, and stands in nobody's way."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from server.idempotency import site_sql, site_store
from server.idempotency.entry import Entry
from server.idempotency.site_store import SiteAnswers
from server.idempotency.store import KeptAnswers
from server.memory.errors import MemoryTrouble
from tests.support.serving import make_key, scripted, serving, wait_until
from tests.support.wire_checks import assert_error


class Books:
    """Remembers what was written while it is there; every statement finds one row."""

    def __init__(self) -> None:
        self.is_there = True
        self.refused: set[Any] = set()
        self.written: list[tuple[str, Any]] = []

    @contextmanager
    def transaction(self) -> Iterator[Any]:
        if not self.is_there:
            raise MemoryTrouble("it is away")
        yield self

    def query(self, sql: str, parameters: Any = ()) -> list[Any]:
        return [(0, 0)]

    def execute(self, sql: str, parameters: Any = ()) -> int:
        if self.refused & set(parameters):
            raise MemoryTrouble("it takes no such thing")
        self.written.append((sql, parameters))
        return 1

    def kept(self) -> list[bytes]:
        return [parameters[0] for sql, parameters in self.written if sql == site_sql.KEEP]


@pytest.fixture
def books() -> Books:
    return Books()


@pytest.fixture
def store(books: Books, tmp_path: Path) -> SiteAnswers:
    return SiteAnswers(
        books.transaction,
        lambda: None,
        node="a/1",
        most_bytes=10**9,
        charged=lambda _: None,
        former=KeptAnswers(tmp_path, 0),
    )


def entry(name: str) -> Entry:
    return Entry(entry_id=name.encode(), owner=b"acme", print=b"p", record_id="r", began=1.0)


def away(store: SiteAnswers, *works: Any) -> None:
    for work, *given in works:
        with pytest.raises(MemoryTrouble):
            work(*given)


def test_it_is_written_once_the_database_is_back(store: SiteAnswers, books: Books) -> None:
    books.is_there = False
    one, two, three = entry("a"), entry("b"), entry("c")
    away(store, (store.keep, one, b"sealed"), (store.forget, two), (store.end, three))
    away(store, (store.claimed, entry("d")))
    assert books.written == []
    books.is_there = True
    store.beat(())
    done = {sql for sql, _ in books.written}
    assert {site_sql.KEEP, site_sql.FORGET, site_sql.END} <= done
    count = len(books.written)
    store.beat(())
    assert len(books.written) == count


def test_a_claim_writes_it_first(store: SiteAnswers, books: Books) -> None:
    books.is_there = False
    away(store, (store.keep, entry("a"), b"sealed"))
    books.is_there = True
    claimed = entry("b")
    assert store.claimed(claimed) is claimed
    assert books.written[0][0] == site_sql.KEEP


def test_what_the_database_never_takes_holds_up_nobody_and_goes(
    store: SiteAnswers, books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    books.refused.add(b"never")
    monkeypatch.setattr(site_store, "LATEST_S", 0.0)
    away(store, (store.keep, entry("a"), b"never"))
    monkeypatch.setattr(site_store, "LATEST_S", 3600.0)
    away(store, (store.keep, entry("b"), b"never"))
    books.is_there = False
    away(store, (store.keep, entry("c"), b"sealed"))
    books.is_there = True
    claimed = entry("d")
    assert store.claimed(claimed) is claimed
    assert books.kept() == [b"sealed"]
    assert set(store._late) == {b"b"}  # whose hour is not over


def test_what_waits_is_bounded(
    store: SiteAnswers, books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(site_store, "MOST_LATE_BYTES", 2000)
    books.is_there = False
    away(store, *((store.keep, entry(f"k{i}"), b"x" * 400) for i in range(6)))
    assert len(store._late) == 2
    books.is_there = True
    store.beat(())
    assert len(books.kept()) == 2


def test_a_site_that_is_away_is_told_where_answers_are_to_be_destroyed(tmp_path: Path) -> None:
    with serving(tmp_path, scripted("m"), settings={"response_store": "never"}) as served:
        admin = {"X-API-Key": make_key(tmp_path, service="admin", owner="operators")}

        def trouble(owner: bytes) -> int:
            raise MemoryTrouble("it is away")

        served.services.keyed._store.forget_answers = trouble  # type: ignore[method-assign]
        known = f"{served.url}/admin/v1/keys"
        wait_until(lambda: httpx.get(known, headers=admin).status_code == 200, "its key is known")
        url = f"{served.url}/admin/v1/owners/tests/memory"
        refused = httpx.delete(url, headers=admin)
        assert_error(refused, 503, "OVERLOADED")
        assert refused.headers["retry-after"] == "30"


def test_a_claim_that_failed_is_taken_back_and_hides_no_answer(
    store: SiteAnswers, books: Books
) -> None:
    books.is_there = False
    away(store, (store.claimed, entry("a")), (store.keep, entry("b"), b"sealed"))
    away(store, (store.claimed, entry("b")))
    books.is_there = True
    store.beat(())
    assert books.kept() == [b"sealed"]
    assert [given[0] for sql, given in books.written if sql == site_sql.FORGET] == [b"a"]


def test_a_claim_that_comes_again_is_not_taken_back(store: SiteAnswers, books: Books) -> None:
    books.refused.add("r")  # by its record
    away(store, (store.claimed, entry("a")))
    books.refused.clear()
    books.is_there = False
    away(store, (store.claimed, entry("a")))
    books.is_there = True
    again = entry("a")
    assert store.claimed(again) is again
    count = len(books.written)
    store.beat(())
    assert len(books.written) == count
