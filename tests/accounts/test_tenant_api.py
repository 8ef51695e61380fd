"""The tenant tree through the whole server: what is above a key holds for its requests at once."""

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from server.ledger.database import Database
from server.ledger.key_store import KeyStore
from server.ledger.member_store import MemberStore
from server.ledger.owner_store import OwnerStore
from server.ledger.records import KeyLimits
from server.ledger.site_store import SiteStore
from tests.support.serving import Served, read_records, scripted, serving, wait_until
from tests.support.tenants import money, new_member, new_owner, tokens

RATES = {"EUR": 87_412}
LONG = scripted("long", text="word " * 400, token_delay_s=0.05)
MODELS = (scripted("m"), scripted("other"), LONG)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("data"), *MODELS, rates=RATES) as served:
        yield served


@contextmanager
def books_of(server: Served) -> Iterator[Database]:
    with closing(server.services.ledger.open_books()) as books:
        yield books


def ask(server: Served, key: str, **fields: Any) -> httpx.Response:
    body = {"model": "m", "messages": [{"role": "user", "content": "go"}], **fields}
    url = f"{server.url}/v1/chat/completions"
    return httpx.post(url, json=body, headers={"X-API-Key": key}, timeout=60)


def error(answer: httpx.Response) -> tuple[int, str, str, Any]:
    said = answer.json()["error"]
    return answer.status_code, said["code"], said["message"], said.get("details")


def test_an_archived_owners_keys_are_refused_at_once_and_are_good_again_when_it_is_back(
    server: Served,
) -> None:
    key = server.new_key(owner="gone")
    assert ask(server, key).status_code == 200
    with books_of(server) as books:
        OwnerStore(books).update("gone", lambda owner: replace(owner, archived_at=1.0))
    wait_until(lambda: ask(server, key).status_code == 401, "it is refused")
    message = "The owner gone of this API key is archived."
    assert error(ask(server, key)) == (401, "AUTH_FAILED", message, None)
    with books_of(server) as books:
        OwnerStore(books).update("gone", lambda owner: replace(owner, archived_at=None))
    wait_until(lambda: ask(server, key).status_code == 200, "it is good again")


def test_a_disabled_members_keys_are_refused_and_nobody_elses(server: Served) -> None:
    with books_of(server) as books:
        new_owner(books, "lab")
        new_member(books, "ada", "lab")
    hers, other = server.new_key(owner="lab", member_id="ada"), server.new_key(owner="lab")
    assert ask(server, hers).status_code == 200
    with books_of(server) as books:
        MemberStore(books).update("ada", lambda one: replace(one, disabled_at=1.0))
    wait_until(lambda: ask(server, hers).status_code == 401, "it is refused")
    assert error(ask(server, hers))[2] == "The member ada of this API key is disabled."
    assert ask(server, other).status_code == 200


def test_a_key_may_use_the_models_that_all_levels_allow(server: Served) -> None:
    with books_of(server) as books:
        new_owner(books, "narrow", models=frozenset({"m"}))
    key = server.new_key(owner="narrow")
    both = server.new_key(owner="narrow", models=frozenset({"other"}))
    assert ask(server, key).status_code == 200
    status, code, message, _ = error(ask(server, key, model="other"))
    assert (status, code) == (403, "INSUFFICIENT_PERMISSIONS")
    assert message == "This API key may not use the model 'other'; it may use m."
    assert "it may use no model" in error(ask(server, both))[2]
    listed = httpx.get(f"{server.url}/v1/models", headers={"X-API-Key": key}).json()["data"]
    assert [model["id"] for model in listed] == ["m"]


def test_the_nearest_currency_and_price_factor_count_and_are_on_the_record(server: Served) -> None:
    """4 and 12 micro-units a token, at 0.087412 EUR, times 0.85 of the owner or 1.5 of the key."""
    with books_of(server) as books:
        new_owner(books, "dear", currency="EUR", price_factor=850_000)
    keys = {
        "owner's": server.new_key(owner="dear"),
        "own": server.new_key(owner="dear", price_factor=1_500_000, currency="NOK"),
    }
    for key in keys.values():
        assert ask(server, key).status_code == 200
    found = {r["key_id"]: r for r in read_records(server.data_dir) if r["owner"] == "dear"}
    prices = ("price_input", "price_cached", "price_output", "currency")
    owners, own = (found[key.split("_")[2]] for key in keys.values())
    exact = [round(n * 0.087412 * 10**6) for n in (4, 1, 12)]
    assert [owners[p] for p in prices] == [*(round(n * 0.85) for n in exact), "EUR"]
    assert [own[p] for p in prices] == [6_000_000, 1_500_000, 18_000_000, "NOK"]
    for record in (owners, own):
        cached = record["cached_tokens"]
        cost = (record["prompt_tokens"] - cached) * record["price_input"]
        cost += cached * record["price_cached"]
        cost += record["completion_tokens"] * record["price_output"]
        assert record["amount"] == (cost + 500_000) // 1_000_000
    url = f"{server.url}/v1/models?details=true"
    listed = httpx.get(url, headers={"X-API-Key": keys["own"]}).json()["data"]
    assert listed[0]["price"]["input"] == "6.000000"


@pytest.mark.parametrize("level", ["owner", "member", "site"])
def test_a_refusal_says_which_level_is_exhausted_and_nothing_of_other_owners(
    tmp_path: Path, level: str
) -> None:
    with serving(tmp_path, scripted("m")) as server:
        with books_of(server) as books:
            new_owner(books, "secret neighbour")
            spent: dict[str, Any] = {"budget": tokens(1)}
            new_owner(books, **spent if level == "owner" else {})
            new_member(books, **spent if level == "member" else {})
            if level == "site":
                SiteStore(books).update(lambda site: replace(site, budget=tokens(1)))
        key = server.new_key(owner="acme", member_id="ada")
        neighbours = server.new_key(owner="secret neighbour")
        assert ask(server, neighbours if level == "site" else key).status_code == 200
        status, code, message, details = error(ask(server, key))
        assert (status, code, details) == (402, "BUDGET_EXCEEDED", {"level": level})
        assert "secret" not in message
        assert ("1 tokens in total" in message) == (level != "site")


def test_a_limit_above_is_429_with_whose_it_is(server: Served) -> None:
    with books_of(server) as books:
        new_owner(books, "slow", limits=KeyLimits(requests_per_minute=2))
    one, other = server.new_key(owner="slow"), server.new_key(owner="slow")
    left = [ask(server, key).headers["x-ratelimit-remaining"] for key in (one, other)]
    assert left == ["1", "0"]
    answer = ask(server, one)
    status, code, message, details = error(answer)
    assert (status, code, details) == (429, "RATE_LIMIT_EXCEEDED", {"level": "owner"})
    assert message.startswith("The owner slow may send 2 requests a minute")
    assert 0 < int(answer.headers["retry-after"]) <= 60


def test_more_sequences_than_the_owner_may_ever_have_are_400_and_than_are_free_429(
    server: Served,
) -> None:
    with books_of(server) as books:
        new_owner(books, "few", limits=KeyLimits(concurrent=2))
    key = server.new_key(owner="few")
    assert error(ask(server, key, n=3))[:2] == (400, "INVALID_PARAMETER")
    assert ask(server, key, n=2).status_code == 200
    slots = [server.services.limiter.accounts["owner:few"].held]
    assert slots == [0]


def test_an_owners_budget_of_money_counts_all_its_keys(server: Served) -> None:
    with books_of(server) as books:
        new_owner(books, "shared", budget=money(1, "month"), currency="NOK")
    one, other = server.new_key(owner="shared"), server.new_key(owner="shared")
    assert ask(server, one).status_code == 200
    assert error(ask(server, other))[::3] == (402, {"level": "owner"})
    with books_of(server) as books:
        key_ids = {key.key_id for key in KeyStore(books).list() if key.owner == "shared"}
    mine = [r for r in read_records(server.data_dir) if r["key_id"] in key_ids]
    spent = server.services.ledger.budgets.accounts["owner:shared"].spent
    assert spent == sum(r["amount"] for r in mine) > 0


def test_a_new_limit_of_an_owner_counts_what_runs_already(server: Served) -> None:
    with books_of(server) as books:
        new_owner(books, "wide")
    keys = [server.new_key(owner="wide") for _ in range(2)]
    body = {"model": "long", "messages": [{"role": "user", "content": "go"}], "stream": True}
    url = f"{server.url}/v1/chat/completions"
    with ExitStack() as streams:
        for key in keys:
            asked = httpx.stream("POST", url, json=body, headers={"X-API-Key": key}, timeout=60)
            next(streams.enter_context(asked).iter_raw())
        with books_of(server) as books:
            limits = KeyLimits(concurrent=2)
            OwnerStore(books).update("wide", lambda owner: replace(owner, limits=limits))
        wait_until(lambda: ask(server, keys[0]).status_code == 429, "it holds")
        assert "2 of 2 sequences" in error(ask(server, keys[1]))[2]
    wait_until(lambda: ask(server, keys[0]).status_code == 200, "they have ended")
