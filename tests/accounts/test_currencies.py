"""A key is billed in its own currency, at the registry's rate, and never in another one."""

from pathlib import Path

import httpx
import pytest

from server.ledger.allowance import Budget
from server.ledger.database import SqliteDatabase
from server.ledger.invoicing import drafts
from server.ledger.periods import date_of, day_of
from server.ledger.reports import Period, usage
from server.ledger.sqlite import FILE_NAME
from tests.support.serving import Served, make_key, read_records, scripted, serving

RATES = {"EUR": 87_412}
"""Of one krone, in millionths of a euro."""


def ask(server: Served, key: str, model: str = "m") -> httpx.Response:
    body = {"model": model, "messages": [{"role": "user", "content": "go"}], "max_tokens": 7}
    headers = {"X-API-Key": key}
    return httpx.post(server.url + "/v1/chat/completions", json=body, headers=headers)


@pytest.mark.slow
def test_a_key_in_euro_is_billed_in_euro_at_the_registrys_rate(tmp_path: Path) -> None:
    euro = make_key(tmp_path, owner="acme", currency="EUR")
    plain = make_key(tmp_path, owner="acme")
    with serving(tmp_path, scripted("m", text="word " * 50), rates=RATES) as server:
        assert ask(server, euro).status_code == 200
        assert ask(server, plain).status_code == 200
    in_euro, in_kroner = read_records(tmp_path)
    assert [r["currency"] for r in (in_euro, in_kroner)] == ["EUR", "NOK"]
    assert [in_euro[f"price_{kind}"] for kind in ("input", "cached", "output")] == [
        349_648,
        87_412,
        1_048_944,
    ]
    prompt, cached, said = (
        in_euro[f"{kind}_tokens"] for kind in ("prompt", "cached", "completion")
    )
    exact = ((prompt - cached) * 349_648 + cached * 87_412 + said * 1_048_944) / 1_000_000
    assert in_euro["amount"] == round(exact)
    assert in_kroner["amount"] == prompt * 4 + said * 12


def test_reports_and_invoices_keep_two_currencies_of_an_owner_apart(tmp_path: Path) -> None:
    keys = [make_key(tmp_path, owner="acme", currency=currency) for currency in ("EUR", None)]
    with serving(tmp_path, scripted("m", text="word " * 50), rates=RATES) as server:
        for key in keys:
            for _ in range(2):
                assert ask(server, key).status_code == 200
    records = read_records(tmp_path)
    today = date_of(day_of(records[0]["started_us"] / 1e6))
    sums = {c: sum(r["amount"] for r in records if r["currency"] == c) for c in ("EUR", "NOK")}
    database = SqliteDatabase(tmp_path / FILE_NAME)
    lines = usage(database, Period(today, today), ("owner",))
    bills = drafts(database, "acme", today.isoformat()[:7], None)
    database.close()
    assert {line["currency"]: line["amount"] for line in lines} == sums
    assert {bill.currency: bill.net for bill in bills} == sums


def test_a_budget_in_euro_ends_in_euro(tmp_path: Path) -> None:
    budget = Budget(kind="money", amount=20, period="day")
    key = make_key(tmp_path, currency="EUR", budget=budget)
    with serving(tmp_path, scripted("m", text="word " * 50), rates=RATES) as server:
        statuses = [ask(server, key).status_code for _ in range(5)]
    amount = next(r["amount"] for r in read_records(tmp_path) if r["end"] != "rejected")
    served = -(-20 // amount)
    assert statuses == [200] * served + [402] * (5 - served)
    assert 1 < served < 5


def test_a_key_in_a_currency_without_a_rate_is_refused_and_not_billed_in_another(
    tmp_path: Path,
) -> None:
    key = make_key(tmp_path, currency="SEK")
    with serving(tmp_path, scripted("m"), rates=RATES) as server:
        answer = ask(server, key)
    assert answer.status_code == 403
    error = answer.json()["error"]
    assert error["code"] == "INSUFFICIENT_PERMISSIONS"
    assert "billed in SEK, and m has a price in NOK, EUR only" in error["message"]
    (record,) = read_records(tmp_path)
    assert (record["end"], record["amount"], record["currency"]) == ("rejected", 0, "SEK")
