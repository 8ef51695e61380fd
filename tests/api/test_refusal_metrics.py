"""402 and 429 by owner in /metrics: every way to be refused, and a bound on how many owners."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from server.ledger.allowance import Budget
from server.ledger.records import KeyLimits
from server.refusal_metrics import MOST_OWNERS, OTHERS, RefusalMetrics
from tests.support.serving import Served, scripted, serving

pytestmark = pytest.mark.anyio


def refusals(text: str) -> dict[tuple[str, str], float]:
    """(owner, code) -> how many."""
    return {
        (sample.labels["owner"], sample.labels["code"]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "fjord_refused_requests_total"
    }


def scraped(server: Served) -> dict[tuple[str, str], float]:
    return refusals(httpx.get(f"{server.url}/metrics").text)


def ask(server: Served, key: str, **body: Any) -> int:
    """The status of one chat."""
    answer = httpx.post(
        f"{server.url}/v1/chat/completions",
        json={"model": "m", "messages": [{"role": "user", "content": "go"}], **body},
        headers={"X-API-Key": key},
    )
    return answer.status_code


def test_each_way_to_be_refused_counts_for_its_owner_and_nothing_else_does(tmp_path: Path) -> None:
    with serving(tmp_path, scripted("m")) as server:
        poor = server.new_key(owner="poor", budget=Budget(kind="tokens", amount=0, period="total"))
        slow = server.new_key(owner="slow", limits=KeyLimits(requests_per_minute=1, burst=0))
        wide = server.new_key(owner="wide", limits=KeyLimits(concurrent=4))
        good = server.new_key(owner="good")
        assert [ask(server, poor), ask(server, poor, stream=True)] == [402, 402]
        assert [ask(server, slow) for _ in range(3)] == [200, 429, 429]
        listed = httpx.get(f"{server.url}/v1/models", headers={"X-API-Key": slow})
        assert listed.status_code == 429
        assert ask(server, wide, n=5) == 400
        assert [ask(server, good), ask(server, good, model="nope")] == [200, 404]
        assert ask(server, "wayscloud_llm_unknown_key") == 401
        assert scraped(server) == {
            ("poor", "BUDGET_EXCEEDED"): 2,
            ("slow", "RATE_LIMIT_EXCEEDED"): 3,
        }


async def test_too_many_at_once_counts_as_concurrency(tmp_path: Path) -> None:
    with serving(tmp_path, scripted("m", first_token_delay_s=0.5)) as server:
        key = server.new_key(owner="busy", limits=KeyLimits(concurrent=1))
        asked = [asyncio.to_thread(ask, server, key) for _ in range(3)]
        assert sorted(await asyncio.gather(*asked)) == [200, 429, 429]
        assert scraped(server) == {("busy", "CONCURRENCY_LIMIT_EXCEEDED"): 2}


async def test_a_budget_that_ends_a_stream_which_had_begun_counts_too(tmp_path: Path) -> None:
    """Both streams hear comment lines while the model loads; then one takes the whole budget."""
    model = scripted("m", load_s=0.5, load="demand")
    with serving(tmp_path, model, settings={"keep_alive_s": 0.05}) as server:
        budget = Budget(kind="tokens", amount=1, period="total")
        key = server.new_key(owner="both", budget=budget)
        async with httpx.AsyncClient(base_url=server.url, headers={"X-API-Key": key}) as client:
            body = {
                "model": "m",
                "stream": True,
                "messages": [{"role": "user", "content": "go"}],
            }
            path = "/v1/chat/completions"
            both = await asyncio.gather(*(client.post(path, json=body) for _ in range(2)))
        assert [answer.status_code for answer in both] == [200, 200]
        assert sorted("BUDGET_EXCEEDED" in answer.text for answer in both) == [False, True]
        assert scraped(server) == {("both", "BUDGET_EXCEEDED"): 1}


def test_only_so_many_owners_have_a_series_however_many_are_refused() -> None:
    registry = CollectorRegistry()
    metrics = RefusalMetrics(registry)
    for number in range(MOST_OWNERS * 3):
        metrics.answered(f"good-{number}", "")
        metrics.answered(f"wrong-{number}", "INVALID_PARAMETER")
    for _ in range(2):
        for number in range(MOST_OWNERS + 50):
            metrics.answered(f"owner-{number}", "BUDGET_EXCEEDED")
    name = "fjord_refused_requests_total"
    found = {
        sample.labels["owner"]: sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.name == name
    }
    assert len(found) == MOST_OWNERS + 1
    assert found[OTHERS] == 100
    assert found[f"owner-{MOST_OWNERS - 1}"] == 2
    metrics.answered("owner-0", "RATE_LIMIT_EXCEEDED")
    labels = {"owner": "owner-0", "code": "RATE_LIMIT_EXCEEDED"}
    assert registry.get_sample_value(name, labels) == 1
