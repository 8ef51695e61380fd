"""Reports, exports and invoices: every sum equals the records, to the last micro-unit."""

import asyncio
import csv
import io
import json
import random
import shutil
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from server.cli import invoice as invoice_cli
from server.cli import prune as prune_cli
from server.cli import usage as usage_cli
from server.ledger.database import Database
from server.ledger.export import csv_text
from server.ledger.ledger import Ledger
from server.ledger.money import amount_of
from server.ledger.records import UsageRecord
from server.ledger.reports import DIMENSIONS, Only, Period, records, usage
from server.ledger.sqlite import prepared_ledger

NOVEMBER = Period(date(2026, 11, 1), date(2026, 11, 30))
ALL = Period(date(2026, 1, 1), date(2026, 12, 31))


def made(count: int) -> list[UsageRecord]:
    """Records of all kinds from October to December, half of them at awkward prices."""
    chance = random.Random(7)
    first = datetime(2026, 10, 15, tzinfo=UTC).timestamp()
    found = []
    for number in range(count):
        prompt = chance.randrange(0, 5000)
        one = UsageRecord(
            record_id=f"req_{number}",
            key_id=chance.choice(["key_a", "key_b", "key_c"]),
            owner=chance.choice(["acme", "Ødegård & Sønn <AS>"]),
            alias=chance.choice(["mixtral-8x7b", "kimi-k2"]),
            weights="w",
            revision=None,
            endpoint="chat",
            stream=chance.random() < 0.5,
            started_at=first + chance.random() * 60 * 86_400,
            end="ok",
            agent_id=chance.choice([None, "ephemeral"]),
            region=chance.choice([None, "oslo"]),
            prompt_tokens=prompt,
            cached_tokens=chance.randrange(0, prompt + 1),
            completion_tokens=chance.randrange(0, 1000),
            price_input=chance.choice([3_333_333, 7]),
            price_cached=1_111_111,
            price_output=9_999_999,
            currency=chance.choice(["NOK", "NOK", "EUR"]),
            node="n",
        )
        one.amount = amount_of(one)
        found.append(one)
    return found


RECORDS = made(400)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stopped ledger that holds RECORDS."""
    folder = tmp_path_factory.mktemp("ledger")

    async def fill() -> None:
        ledger = Ledger.open(folder, node="n")
        await ledger.start()
        await asyncio.gather(*(ledger.close_record(one) for one in RECORDS))
        await ledger.stop()

    asyncio.run(fill())
    return folder


@pytest.fixture
def data_dir(filled: Path, tmp_path: Path) -> Path:
    """A copy of it for one test."""
    return shutil.copytree(filled, tmp_path / "data")


def books(data_dir: Path) -> Database:
    ledger = Ledger.open(data_dir, node="n")
    ledger.lock.release()
    return ledger.open_books()


def moment(one: UsageRecord) -> date:
    return datetime.fromtimestamp(one.started_at, UTC).date()


GROUPS: dict[str, Callable[[UsageRecord], str]] = {
    "day": lambda one: moment(one).isoformat(),
    "month": lambda one: moment(one).isoformat()[:7],
    "key": lambda one: one.key_id,
    "member": lambda _: "",
    "owner": lambda one: one.owner,
    "alias": lambda one: one.alias,
    "agent_id": lambda one: one.agent_id or "",
    "region": lambda one: one.region or "",
}


@pytest.mark.parametrize(
    "by", [*([name] for name in DIMENSIONS), ["month", "owner"], ["key", "day"]]
)
def test_a_report_is_the_sum_of_its_records(data_dir: Path, by: list[Any]) -> None:
    expected: Counter[tuple[str, ...]] = Counter()
    requests: Counter[tuple[str, ...]] = Counter()
    for one in RECORDS:
        if NOVEMBER.first <= moment(one) <= NOVEMBER.last:
            group = (*(GROUPS[name](one) for name in by), one.currency)
            expected[group] += one.amount
            requests[group] += 1
    with closing(books(data_dir)) as database:
        lines = usage(database, NOVEMBER, by)
    found = {tuple(line[name] for name in (*by, "currency")): line for line in lines}
    assert {group: line["amount"] for group, line in found.items()} == dict(expected)
    assert {group: line["requests"] for group, line in found.items()} == dict(requests)
    assert list(found) == sorted(found)


def test_a_period_takes_in_both_its_days_and_no_other(data_dir: Path) -> None:
    day = Period(date(2026, 11, 11), date(2026, 11, 12))
    with closing(books(data_dir)) as database:
        lines = usage(database, day, ["day"])
        listed = list(records(database, day))
    assert {line["day"] for line in lines} == {"2026-11-11", "2026-11-12"}
    wanted = {one.record_id for one in RECORDS if day.first <= moment(one) <= day.last}
    assert {line["record_id"] for line in listed} == wanted


def test_a_report_can_be_narrowed(data_dir: Path) -> None:
    only = Only(owner="acme", key_id="key_a", alias="kimi-k2")
    with closing(books(data_dir)) as database:
        (total, *rest) = usage(database, ALL, ["owner"], only)
        listed = list(records(database, ALL, only))
    mine = [r for r in RECORDS if (r.owner, r.key_id, r.alias) == ("acme", "key_a", "kimi-k2")]
    assert total["requests"] + sum(line["requests"] for line in rest) == len(mine) == len(listed)


def test_records_come_back_whole_and_in_order(data_dir: Path) -> None:
    with closing(books(data_dir)) as database:
        listed = list(records(database, ALL))
    assert [line["started_at"] for line in listed] == sorted(line["started_at"] for line in listed)
    by_id = {line["record_id"]: line for line in listed}
    for one in RECORDS:
        line = by_id[one.record_id]
        for name in ("key_id", "owner", "alias", "agent_id", "region", "amount", "stream"):
            assert line[name] == getattr(one, name)


def run(app: Any, *arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
    assert done.exit_code == code, done.output
    return done.stdout if code == 0 else done.stderr


def in_november(owner: str | None = None) -> int:
    return sum(
        one.amount
        for one in RECORDS
        if moment(one).month == 11 and one.currency == "NOK" and owner in (None, one.owner)
    )


def micro(text: str) -> int:
    return int(text.replace(".", ""))


def test_the_command_writes_json_and_csv_with_exact_decimals(data_dir: Path) -> None:
    where = ("--data-dir", str(data_dir), "--month", "2026-11", "--by", "month,alias")
    from_json = json.loads(run(usage_cli.app, *where, "--json"))
    from_csv = list(csv.DictReader(io.StringIO(run(usage_cli.app, *where, "--csv"))))
    for lines in (from_json, from_csv):
        nok = [line for line in lines if line["currency"] == "NOK"]
        assert sum(int(line["amount_micro"]) for line in nok) == in_november()
        assert sum(micro(line["amount"]) for line in nok) == in_november()


def test_the_command_writes_parquet_of_all_records(data_dir: Path, tmp_path: Path) -> None:
    from pyarrow import parquet  # type: ignore[import-untyped]

    out = tmp_path / "records.parquet"
    where = ("--data-dir", str(data_dir), "--from", "2026-01-01", "--to", "2026-12-31")
    run(usage_cli.app, *where, "--records", "--parquet", str(out))
    table = parquet.read_table(out).to_pylist()
    assert {row["record_id"] for row in table} == {one.record_id for one in RECORDS}
    assert sum(row["amount_micro"] for row in table) == sum(one.amount for one in RECORDS)


def test_the_command_lists_the_records_themselves(data_dir: Path) -> None:
    where = ("--data-dir", str(data_dir), "--from", "2026-01-01", "--to", "2026-12-31")
    listed = json.loads(run(usage_cli.app, *where, "--records", "--json"))
    assert len(listed) == len(RECORDS)
    assert (
        json.loads(run(usage_cli.app, "--data-dir", str(data_dir), "--month", "2020-01", "--json"))
        == []
    )


def test_the_table_has_a_total_for_each_currency(data_dir: Path) -> None:
    shown = run(usage_cli.app, "--data-dir", str(data_dir), "--month", "2026-11", "--by", "owner")
    assert "Ødegård & Sønn <AS>" in shown
    nok = in_november()
    assert f"Total {nok // 10**6}.{nok % 10**6:06d} NOK" in shown


@pytest.mark.parametrize(
    ("app", "arguments", "says"),
    [
        (usage_cli.app, ["--month", "november"], "2026-11"),
        (usage_cli.app, ["--month", "2026-13"], "2026-11"),
        (usage_cli.app, ["--month", "2026-11", "--from", "2026-11-01"], "not both"),
        (usage_cli.app, ["--from", "2026-11-02", "--to", "2026-11-01"], "is after"),
        (usage_cli.app, ["--by", "moon"], "agent_id"),
        (invoice_cli.app, ["--owner", "nobody", "--month", "2026-11"], "nothing to invoice nobody"),
        (prune_cli.app, ["--before", "never", "--yes"], "2026-11-30"),
    ],
)
def test_what_does_not_fit_is_one_line_that_says_what_would(
    tmp_path: Path, app: Any, arguments: list[str], says: str
) -> None:
    prepared_ledger(tmp_path)
    text = run(app, *arguments, "--data-dir", str(tmp_path), code=2)
    assert says in text
    assert text.count("\n") == 1


def test_pruning_deletes_old_records_and_no_sum(data_dir: Path) -> None:
    with closing(books(data_dir)) as database:
        before = usage(database, ALL, ["month"])
    shown = run(prune_cli.app, "--before", "2026-11-01", "--yes", "--data-dir", str(data_dir))
    old = sum(moment(one).month == 10 for one in RECORDS)
    assert f"Deleted {old} records" in shown
    with closing(books(data_dir)) as database:
        assert usage(database, ALL, ["month"]) == before
        assert len(list(records(database, ALL))) == len(RECORDS) - old


def test_nothing_is_pruned_without_a_yes(data_dir: Path) -> None:
    done = CliRunner().invoke(
        prune_cli.app, ["--before", "2027-01-01", "--data-dir", str(data_dir)], input="n\n"
    )
    assert done.exit_code == 1
    with closing(books(data_dir)) as database:
        assert len(list(records(database, ALL))) == len(RECORDS)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ('=HYPERLINK("http://x","y")', '\'=HYPERLINK("http://x","y")'),
        ("+1+1", "'+1+1"),
        ("-2+3", "'-2+3"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("plain", "plain"),
        ("-1.500000", "-1.500000"),
        ("", ""),
    ],
)
def test_no_cell_of_a_csv_is_a_formula(value: str, written: str) -> None:
    text = "".join(csv_text([{"agent_id": value, "requests": -1}]))
    assert list(csv.reader(io.StringIO(text))) == [["agent_id", "requests"], [written, "-1"]]
