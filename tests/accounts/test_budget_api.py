"""Budgets through the whole server: a crowd at once cannot overspend a key's by more than a cap."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest

from server.ledger.allowance import Budget
from tests.support.serving import Served, read_records, scripted, serving

pytestmark = pytest.mark.anyio

MANY = 200
OUTPUT = 20
PRICE_INPUT, PRICE_OUTPUT = 4, 12
"""Of `scripted`, in micro-units a token."""
WIDE = {"requests_per_minute": 100_000, "concurrent": 1000}


def body(number: int) -> dict[str, Any]:
    """Streamed or whole; the prompts are equally long."""
    return {
        "model": "m",
        "messages": [{"role": "user", "content": "go"}],
        "max_tokens": OUTPUT,
        "stream": number % 2 == 0,
    }


async def ask_all(server: Served, key: str) -> list[httpx.Response]:
    limits = httpx.Limits(max_connections=MANY)
    headers = {"X-API-Key": key}
    async with httpx.AsyncClient(
        base_url=server.url, headers=headers, limits=limits, timeout=60
    ) as http:
        return await asyncio.gather(
            *(http.post("/v1/chat/completions", json=body(n)) for n in range(MANY))
        )


async def cap_of_one(server: Served) -> tuple[int, int]:
    """The most one request can use: tokens, and micro-units."""
    async with httpx.AsyncClient(base_url=server.url, headers=server.headers) as http:
        answer = await http.post("/v1/chat/completions", json=body(1))
    prompt = answer.json()["usage"]["prompt_tokens"]
    return prompt + OUTPUT, prompt * PRICE_INPUT + OUTPUT * PRICE_OUTPUT


def spent(data_dir: Path, key: str, kind: str) -> int:
    mine = [r for r in read_records(data_dir) if r["key_id"] == key.split("_")[2]]
    if kind == "money":
        return sum(r["amount"] for r in mine)
    return sum(r["prompt_tokens"] + r["completion_tokens"] for r in mine if r["end"] != "rejected")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "kind"),
    [
        pytest.param(OUTPUT, "money", id="all of the cap-money"),
        pytest.param(3, "tokens", id="much less than the cap-tokens"),
        pytest.param(OUTPUT, "tokens", id="all of the cap-tokens"),
        pytest.param(3, "money", id="much less than the cap-money"),
    ],
)
async def test_two_hundred_at_once_on_room_for_ten_overspend_by_at_most_one_cap(
    tmp_path: Path, words: int, kind: Any
) -> None:
    model = scripted("m", text="word " * (words - 1), first_token_delay_s=0.3, token_delay_s=0.01)
    with serving(tmp_path, model, settings=WIDE) as server:
        tokens, micro = await cap_of_one(server)
        cap = micro if kind == "money" else tokens
        amount = 10 * cap - cap // 2
        budget = Budget(kind=kind, amount=amount, period="month")
        key = server.new_key(budget=budget, currency="NOK")
        answers = await ask_all(server, key)
        statuses = Counter(answer.status_code for answer in answers)
        assert set(statuses) == {200, 402}
        assert statuses[200] >= 10
        assert {a.json()["error"]["code"] for a in answers if a.status_code == 402} == {
            "BUDGET_EXCEEDED"
        }
    assert 0 < spent(tmp_path, key, kind) < amount + cap
