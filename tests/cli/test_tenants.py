"""`fjord owners`, `fjord members` and `fjord site`, and keys that know both."""

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from server.cli import forget, invoice, keys, members, owners, site, usage
from server.ledger.database import SqliteDatabase
from server.ledger.records import UsageRecord
from server.ledger.sqlite import FILE_NAME, prepared_ledger
from server.ledger.sqlite_rows import INSERT_RECORDS, SqliteRows

OWNERS, MEMBERS, KEYS, SITE = owners.app, members.app, keys.app, site.app
LIMITS = ("--requests-per-minute", "60", "--burst", "0", "--concurrent", "4")
ALL = (
    *LIMITS,
    *("--tokens-per-minute", "9000", "--models", "b,a", "--price-factor", "0.85"),
    *("--budget", "500 NOK/month"),
)


@pytest.fixture(autouse=True)
def ledger_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)  # no registry: no model is misspelt
    return prepared_ledger(tmp_path / "data")


def run(app: typer.Typer, *arguments: str, columns: int = 80) -> Any:
    return CliRunner().invoke(app, arguments, env={"COLUMNS": str(columns)})


def said(app: typer.Typer, *arguments: str) -> Any:
    """What the command answers with --json."""
    done = run(app, *arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def refused(app: typer.Typer, *arguments: str) -> str:
    """What it says on its way out with status 2."""
    done = run(app, *arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("fjord: ")
    return str(done.stderr).removeprefix("fjord: ").rstrip("\n")


def test_an_owner_is_made_shown_changed_and_archived(tmp_path: Path) -> None:
    made = said(OWNERS, "create", "acme", *ALL)
    limits = {"requests_per_minute": 60, "burst": 0, "concurrent": 4, "tokens_per_minute": 9000}
    budget = {"kind": "money", "amount": "500", "period": "month"}
    more = {"budget": budget, "currency": "NOK", "price_factor": "0.85", "models": ["a", "b"]}
    assert {**made, **limits, **more, "state": "active", "archived_at": None} == made
    shown = said(OWNERS, "show", "acme")
    assert shown == said(OWNERS, "show", made["owner_id"]) == made | {"used": shown["used"]}
    changed = said(OWNERS, "update", "acme", "--budget", "7 tokens/day", "--unset", "price-factor")
    assert (changed["budget"]["kind"], changed["price_factor"]) == ("tokens", None)
    assert said(OWNERS, "update", "acme", "--archive")["state"] == "archived"
    assert refused(KEYS, "create", "--name", "n", "--owner", "acme").endswith("it gets no keys.")
    assert said(OWNERS, "update", made["owner_id"], "--restore")["state"] == "active"
    assert [owner["name"] for owner in said(OWNERS, "list")] == ["acme"]


def test_a_member_is_made_shown_changed_and_disabled() -> None:
    said(OWNERS, "create", "acme")
    made = said(MEMBERS, "create", "Ada", "--owner", "acme", "--email", "ada@acme.no", *LIMITS)
    assert (made["owner"], made["role"], made["concurrent"]) == ("acme", "member", 4)
    shown = said(MEMBERS, "show", "Ada", "--owner", "acme")
    assert shown == made | {"used": shown["used"]}
    changed = said(MEMBERS, "update", "Ada", "--role", "auditor", "--unset", "email")
    assert (changed["role"], changed["email"]) == ("auditor", None)
    key = said(KEYS, "create", "--name", "hers", "--owner", "acme", "--member", "Ada")
    assert key["member"] == "Ada"
    assert said(MEMBERS, "disable", made["member_id"])["state"] == "disabled"
    assert [one["state"] for one in said(KEYS, "list", "--member", "Ada")] == ["barred"]
    assert said(MEMBERS, "update", "Ada", "--enable")["state"] == "active"
    admin = said(MEMBERS, "create", "Root", "--role", "admin")
    assert [one["name"] for one in said(MEMBERS, "list")] == [admin["name"], "Ada"]
    assert [one["name"] for one in said(MEMBERS, "list", "--owner", "acme")] == ["Ada"]


def test_the_site_is_shown_and_changed() -> None:
    shown = said(SITE, "show")
    assert shown == dict.fromkeys(shown) | {"used": shown["used"]}
    changed = said(SITE, "update", *ALL)
    shown = said(SITE, "show")
    assert shown == changed | {"used": shown["used"]}
    assert said(SITE, "update", "--unset", "budget")["budget"] is None


def test_a_keys_owner_is_made_as_before_and_one_that_is_nearly_there_is_warned_of() -> None:
    for name in ("acme", "university"):
        done = run(KEYS, "create", "--name", "n", "--owner", name)
        assert (done.exit_code, done.stderr) == (0, "")
    assert [owner["name"] for owner in said(OWNERS, "list")] == ["acme", "university"]
    done = run(KEYS, "create", "--name", "n", "--owner", "acmee")
    assert done.exit_code == 0
    assert "there is no owner 'acmee' yet; did you mean 'acme'? It is made." in done.stderr


def test_an_owner_is_found_by_its_id_wherever_its_name_is(tmp_path: Path) -> None:
    word = said(OWNERS, "create", "acme")["owner_id"]
    key = said(KEYS, "create", "--name", "n", "--owner", word)
    assert key["owner"] == "acme"
    assert [one["key_id"] for one in said(KEYS, "list", "--owner", word)] == [key["key_id"]]
    add_record(key["key_id"])
    lines = said(usage.app, "--owner", word, "--month", "2026-01", "--by", "owner")
    assert [line["owner"] for line in lines] == ["acme"]
    [draft] = said(invoice.app, "--owner", word, "--month", "2026-01")
    assert draft["owner"] == "acme"
    done = run(forget.app, word, "--yes")
    assert done.stdout.endswith("responses and conversations of acme.\n")


def add_record(key_id: str) -> None:
    record = UsageRecord(
        record_id="r",
        key_id=key_id,
        owner="acme",
        alias="a",
        weights="w",
        revision=None,
        endpoint="chat",
        stream=True,
        started_at=1_767_500_000.0,
        end="ok",
        prompt_tokens=5,
        amount=7,
    )
    with closing(SqliteDatabase(Path("data") / FILE_NAME)) as books:
        books.execute(INSERT_RECORDS, (SqliteRows(books.connection).batch([record]),))


@pytest.mark.parametrize(
    ("app", "arguments", "words"),
    [
        (OWNERS, ("create", "acme"), "There is an owner 'acme' already."),
        (OWNERS, ("show", "acm"), "No owner has the name or id 'acm'; did you mean 'acme'?"),
        (OWNERS, ("show", "zzz"), "No owner has the name or id 'zzz'."),
        (OWNERS, ("update", "acme", "--price-factor", "11"), "price_factor: the most is 10"),
        (OWNERS, ("update", "acme", "--price-factor", "x"), "price_factor: "),
        (OWNERS, ("update", "acme", "--concurrent", "0"), "concurrent: the least is 1"),
        (OWNERS, ("update", "acme", "--unset", "name"), "--unset 'name' is none of models, "),
        (OWNERS, ("update", "acme", "--budget", "5"), "--budget '5' is not understood"),
        (OWNERS, ("create", "x" * 201), "name: "),
        (MEMBERS, ("create", "Bob"), "An admin is the site's, a manager"),
        (MEMBERS, ("create", "Bob", "--owner", "acmee"), "No owner has the name or id 'acmee';"),
        (MEMBERS, ("create", "Ada", "--owner", "acme"), "acme has a member 'Ada' already."),
        (MEMBERS, ("create", "Bob", "--owner", "acme", "--role", "king"), "role: "),
        (MEMBERS, ("show", "Adda"), "No member has the name or id 'Adda'; did you mean 'Ada'?"),
        (MEMBERS, ("update", "Ada", "--role", "admin"), "An admin is the site's, a manager"),
        (KEYS, ("create", "--name", "n", "--member", "Ada"), "No member of default has the name"),
        (SITE, ("update", "--budget", "5 NOK/week"), "--budget '5 NOK/week' is not understood"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(
    app: typer.Typer, arguments: tuple[str, ...], words: str
) -> None:
    said(OWNERS, "create", "acme")
    said(MEMBERS, "create", "Ada", "--owner", "acme")
    complaint = refused(app, *arguments)
    assert complaint.startswith(words)
    assert "\n" not in complaint


def test_a_budget_counts_in_the_currency_that_its_level_has() -> None:
    said(OWNERS, "create", "acme", "--budget", "5 NOK/month")
    other = refused(OWNERS, "update", "acme", "--budget", "5 EUR/month")
    assert other.startswith("--budget '5 EUR/month' is in EUR and the owner is billed in NOK")
    alone = refused(OWNERS, "update", "acme", "--currency", "EUR")
    assert alone.startswith("the owner has a budget of 5.000000 NOK, which would become as many")
    both = said(OWNERS, "update", "acme", "--budget", "5 EUR/month", "--currency", "EUR")
    assert both["currency"] == "EUR"


def test_tables_fit_eighty_columns() -> None:
    for name in ("acme", "a university with a name that is not short"):
        said(OWNERS, "create", name, "--budget", "123456.50 NOK/month", "--models", "a,b,c" * 9)
        said(MEMBERS, "create", "Ada", "--owner", name, "--email", f"{'ada' * 9}@acme.example")
    for app in (OWNERS, MEMBERS):
        lines = run(app, "list").stdout.splitlines()
        assert len(lines) > 2
        assert max(map(len, lines)) <= 80


def test_an_address_that_is_none_is_told_what_one_looks_like() -> None:
    said(OWNERS, "create", "acme")
    told = refused(MEMBERS, "create", "Ada", "--owner", "acme", "--email", "nonsense")
    assert told == "email: right would be an address, as ada@example.com; got 'nonsense'."
