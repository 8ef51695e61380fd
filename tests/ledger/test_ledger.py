"""The ledger as a server uses it: durable, exact, one record a request."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.ledger.errors import DuplicateRecord, LedgerError, LedgerUnavailable
from server.ledger.ledger import Ledger
from server.ledger.money import amount_of, decimal_text, reserve_of
from server.ledger.records import UsageRecord
from server.ledger.sqlite import FILE_NAME

pytestmark = pytest.mark.anyio


def record(record_id: str, **fields: Any) -> UsageRecord:
    plain: dict[str, Any] = {
        "key_id": "key0000001",
        "owner": "acme",
        "alias": "mixtral-8x7b",
        "weights": "org/weights",
        "revision": "main",
        "endpoint": "chat",
        "stream": True,
        "started_at": time.time(),
        "end": "ok",
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "price_input": 3_000_000,
        "price_cached": 1_000_000,
        "price_output": 9_000_000,
    }
    return UsageRecord(record_id=record_id, **plain | fields)


def rows(data_dir: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(data_dir / FILE_NAME)) as connection:
        return connection.execute(sql).fetchall()


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[Ledger]:
    opened = Ledger.open(tmp_path, node="node-1")
    await opened.start()
    yield opened
    await opened.stop()


async def test_a_closed_record_is_in_the_file_with_every_field(
    ledger: Ledger, tmp_path: Path
) -> None:
    one = record(
        "req_1",
        agent_id="ephemeral",
        user="u-1",
        region="oslo",
        finish_reason="stop",
        cached_tokens=4,
        reasoning_tokens=2,
        ttft_s=0.25,
        duration_s=1.5,
        node="node-1",
        started_at=1_700_000_000.25,
    )
    await ledger.begin(one)
    await ledger.close_record(one)
    names = [f.strip('"') for f in ("record_id", "key_id", "owner", "alias", "weights", "revision")]
    names += ["endpoint", "agent_id", "region", "finish_reason", "prompt_tokens", "cached_tokens"]
    names += ["completion_tokens", "reasoning_tokens", "price_input", "price_cached"]
    names += ["price_output", "currency", "amount", "node"]
    (row,) = rows(tmp_path, f"SELECT {', '.join(names)} FROM usage_records")
    assert row == tuple(getattr(one, name) for name in names)
    timing = 'SELECT stream, "end", "user", started_us, ttft_us, duration_us FROM usage_records'
    assert rows(tmp_path, timing) == [(1, "ok", "u-1", 1_700_000_000_250_000, 250_000, 1_500_000)]
    assert one.amount == 6 * 3 + 4 * 1 + 5 * 9


async def test_an_open_entry_is_durable_once_opened_returns(ledger: Ledger, tmp_path: Path) -> None:
    one = record("req_1")
    await ledger.begin(one)
    await ledger.opened(one)
    assert rows(tmp_path, "SELECT record_id FROM open_requests") == [("req_1",)]
    await ledger.close_record(one)
    assert rows(tmp_path, "SELECT record_id FROM open_requests") == []


async def test_a_record_that_was_never_begun_is_kept_too(ledger: Ledger, tmp_path: Path) -> None:
    await ledger.close_record(record("req_1", end="rejected", prompt_tokens=0, completion_tokens=0))
    assert rows(tmp_path, 'SELECT "end", amount FROM usage_records') == [("rejected", 0)]


async def test_a_record_that_comes_after_the_end_keeps_nobody_waiting(tmp_path: Path) -> None:
    """A request that outlives the drain: it is told, and is `lost` at the next start."""
    ledger = Ledger.open(tmp_path, node="node-1")
    await ledger.start()
    one = record("req_1")
    await ledger.begin(one)
    await ledger.opened(one)
    await ledger.stop()
    with pytest.raises(LedgerUnavailable):
        await asyncio.wait_for(ledger.close_record(one), 30)
    with pytest.raises(LedgerUnavailable):
        await asyncio.wait_for(asyncio.wrap_future(ledger.writer.call(lambda c: None)), 30)
    assert Ledger.open(tmp_path, node="node-1").lost_count == 1


async def test_what_a_crash_left_open_is_closed_as_lost_with_what_was_known(tmp_path: Path) -> None:
    dead = Ledger.open(tmp_path, node="node-1")
    await dead.start()
    one = record("req_1", completion_tokens=0)
    await dead.begin(one)
    for tokens in (2, 3):
        one.completion_tokens, one.cached_tokens, one.ttft_s = tokens, 1, 0.25
        dead.progress(one)
        await asyncio.sleep(0)  # `progress` is written at the end of the loop's step
        await asyncio.wrap_future(dead.writer.call(lambda connection: None))
    await dead.stop()  # with the request still open: as far as the file knows, a crash

    born = Ledger.open(tmp_path, node="node-1")
    await born.start()
    assert born.lost_count == 1
    assert rows(
        tmp_path, 'SELECT record_id, "end", completion_tokens, amount FROM usage_records'
    ) == [("req_1", "lost", 3, 9 * 3 + 1 * 1 + 3 * 9)]
    assert rows(tmp_path, "SELECT cached_tokens, ttft_us FROM records") == [(1, 250_000)]
    assert rows(tmp_path, "SELECT * FROM open_requests") == []
    assert rows(tmp_path, "SELECT * FROM meta WHERE name = 'progress'") == []
    await born.stop()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "end", ["ok", "length", "client_left", "timed_out", "engine_died", "failed", "shut_down"]
)
async def test_a_whole_answer_that_the_server_broke_costs_nothing(
    ledger: Ledger, tmp_path: Path, end: Any, stream: bool
) -> None:
    await ledger.close_record(record("r", end=end, stream=stream))
    is_free = not stream and end in ("engine_died", "failed", "shut_down")
    assert rows(tmp_path, "SELECT amount FROM records") == [(0 if is_free else 75,)]
    assert rows(tmp_path, "SELECT sum(amount) FROM daily") == [(0 if is_free else 75,)]


async def test_a_whole_answer_that_a_crash_broke_costs_nothing(tmp_path: Path) -> None:
    dead = Ledger.open(tmp_path, node="node-1")
    await dead.start()
    for name, stream in (("whole", False), ("stream", True)):
        one = record(name, stream=stream)
        await dead.begin(one)
        await dead.opened(one)
    await dead.stop()
    assert Ledger.open(tmp_path, node="node-1").lost_count == 2
    found = rows(tmp_path, "SELECT record_id, amount FROM records ORDER BY record_id")
    assert found == [("stream", 75), ("whole", 0)]


async def test_a_request_id_has_one_record_and_its_double_harms_nobody_else(
    ledger: Ledger, tmp_path: Path
) -> None:
    ends = await asyncio.gather(
        *(ledger.close_record(record(name)) for name in ("a", "b", "a", "c")),
        return_exceptions=True,
    )
    assert [type(end) for end in ends].count(DuplicateRecord) == 1
    assert rows(tmp_path, "SELECT record_id FROM records ORDER BY record_id") == [
        ("a",),
        ("b",),
        ("c",),
    ]
    assert rows(tmp_path, "SELECT sum(requests) FROM daily") == [(3,)]


async def test_an_id_used_twice_does_not_keep_the_next_start_from_coming_up(tmp_path: Path) -> None:
    first = Ledger.open(tmp_path, node="node-1")
    await first.start()
    await first.close_record(record("a"))
    await first.begin(record("a"))
    with pytest.raises(DuplicateRecord):
        await first.close_record(record("a"))
    await first.stop()
    second = Ledger.open(tmp_path, node="node-1")
    await second.start()
    assert second.lost_count == 0
    await second.stop()
    assert rows(tmp_path, "SELECT count(*) FROM records") == [(1,)]


async def test_stopping_without_a_start_frees_the_directory_twice(tmp_path: Path) -> None:
    never_started = Ledger.open(tmp_path, node="n")
    await never_started.stop()
    await never_started.stop()
    assert never_started.health() is None


async def test_beginning_an_open_request_again_is_refused(ledger: Ledger) -> None:
    await ledger.begin(record("a"))
    with pytest.raises(DuplicateRecord, match="open already"):
        await ledger.begin(record("a"))


async def test_concurrent_records_are_all_written_and_sums_agree(
    ledger: Ledger, tmp_path: Path
) -> None:
    async def one(number: int) -> None:
        mine = record(f"req_{number}", alias=f"alias-{number % 3}", completion_tokens=number)
        await ledger.begin(mine)
        await ledger.opened(mine)
        await ledger.close_record(mine)

    await asyncio.gather(*(one(number) for number in range(1000)))
    found = rows(tmp_path, "SELECT count(*), sum(completion_tokens), sum(amount) FROM records")
    assert found == [(1000, 499_500, 1000 * 30 + 499_500 * 9)]
    sums = "SELECT sum(requests), sum(completion_tokens), sum(amount) FROM daily"
    assert rows(tmp_path, sums) == found


@pytest.mark.slow
async def test_a_locked_file_refuses_new_work_and_recovers(ledger: Ledger, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        one = record("req_1")
        await ledger.begin(one)
        closing_one = asyncio.ensure_future(ledger.close_record(one))
        two = record("req_2")
        await ledger.begin(two)
        with pytest.raises(LedgerUnavailable, match="locked"):
            await ledger.opened(two)
        assert "locked" in (ledger.health() or "")
        with pytest.raises(LedgerUnavailable, match="locked"):
            await ledger.begin(record("req_3"))
        assert not closing_one.done()
        other.execute("ROLLBACK")
    await closing_one
    await ledger.close_record(two)
    assert ledger.health() is None
    assert rows(tmp_path, "SELECT record_id FROM records") == [("req_1",), ("req_2",)]


def test_a_schema_from_the_future_is_refused(tmp_path: Path) -> None:
    first = Ledger.open(tmp_path, node="n")
    first.lock.release()
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(LedgerError, match="schema 9999"):
        Ledger.open(tmp_path, node="n")


def test_a_file_that_is_no_ledger_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"this is not a database, " * 100)
    with pytest.raises(LedgerUnavailable, match="not a database"):
        Ledger.open(tmp_path, node="n")


tokens = st.integers(0, 10**7)
prices = st.integers(0, 10**10)


@given(tokens, tokens, tokens, prices, prices, prices)
def test_an_amount_is_rounded_half_up_once_and_never_above_its_reservation(
    fresh: int, cached: int, completion: int, price: int, price_cached: int, price_output: int
) -> None:
    one = record(
        "r",
        prompt_tokens=fresh + cached,
        cached_tokens=cached,
        completion_tokens=completion,
        price_input=price,
        price_cached=price_cached,
        price_output=price_output,
    )
    exact = fresh * price + cached * price_cached + completion * price_output
    assert abs(amount_of(one) * 10**6 - exact) <= 500_000
    assert amount_of(replace(one, price_input=price + 1)) >= amount_of(one)
    assert amount_of(one) <= reserve_of(one, completion)


def test_half_a_micro_unit_is_rounded_up() -> None:
    assert amount_of(record("r", prompt_tokens=1, price_input=500_000, completion_tokens=0)) == 1
    assert amount_of(record("r", prompt_tokens=1, price_input=499_999, completion_tokens=0)) == 0


def test_money_is_written_with_all_its_decimals() -> None:
    assert decimal_text(1) == "0.000001"
    assert decimal_text(12_500_000) == "12.500000"
    assert decimal_text(-1_500_000) == "-1.500000"
