"""/metrics, /health and /ready, read as Prometheus and a load balancer read them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette

from engines.fleet.fleet import Fleet
from engines.registry.spec import EngineSpec, ModelSpec
from engines.testing.scripted import ScriptedEngine
from server.api.ops import ops_routes
from server.ledger.records import UsageRecord
from server.metrics import Metrics
from server.requests.supervisor import Supervisor

pytestmark = pytest.mark.anyio


def record(alias: str = "tiny", **facts: Any) -> UsageRecord:
    base = {
        "record_id": "r",
        "key_id": "k",
        "owner": "o",
        "weights": "w",
        "revision": None,
        "endpoint": "chat",
        "stream": True,
        "started_at": 0.0,
        "end": "ok",
    }
    return UsageRecord(alias=alias, **{**base, **facts})


def read(metrics: Metrics) -> dict[tuple[str, ...], float]:
    """(sample name, label values…) -> value."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(metrics.render().decode())
        for sample in family.samples
    }


def test_a_finished_request_is_counted_with_its_tokens_and_times() -> None:
    metrics = Metrics(["tiny"], list, dict)
    metrics.finished(
        record(
            prompt_tokens=30,
            cached_tokens=16,
            completion_tokens=11,
            reasoning_tokens=4,
            ttft_s=0.2,
            duration_s=1.2,
        ),
        status=200,
        wait_s=0.02,
    )
    found = read(metrics)
    expected = {
        ("fjord_requests_total", "tiny", "chat", "200"): 1,
        ("fjord_prompt_tokens_total", "tiny"): 30,
        ("fjord_cached_prompt_tokens_total", "tiny"): 16,
        ("fjord_completion_tokens_total", "tiny"): 11,
        ("fjord_reasoning_tokens_total", "tiny"): 4,
        ("fjord_time_to_first_token_seconds_sum", "tiny"): 0.2,
        ("fjord_request_duration_seconds_sum", "tiny"): 1.2,
        ("fjord_queue_wait_seconds_sum", "tiny"): 0.02,
        ("fjord_time_per_output_token_seconds_bucket", "tiny", "0.1"): 1,
        ("fjord_time_per_output_token_seconds_bucket", "tiny", "0.075"): 0,
    }
    assert {key: found[key] for key in expected} == expected


@dataclass(eq=False)
class Answer:
    """A running one, of which only this is asked here."""

    alias: str
    sequences: int

    def tick(self, now: float) -> None: ...

    def cut(self, why: str) -> None: ...


def test_what_is_in_flight_is_asked_of_the_supervisor_at_each_scrape() -> None:
    supervisor = Supervisor()
    metrics = Metrics(["tiny", "other"], list, supervisor.requests)
    answers = [Answer("tiny", n) for n in (1, 16)]
    seen = []
    for change in (supervisor.add, supervisor.remove):
        for answer in answers:
            change(answer)
            found = read(metrics)
            seen.append((found["fjord_requests_in_flight", "tiny"], supervisor.in_flight("tiny")))
            assert found["fjord_requests_in_flight", "other"] == 0
    assert seen == [(1, 1), (2, 17), (1, 16), (0, 0)]


def test_a_request_without_a_first_token_leaves_the_token_histograms_alone() -> None:
    metrics = Metrics(["tiny"], list, dict)
    metrics.finished(record(end="client_left", duration_s=3.0), status=0)
    found = read(metrics)
    assert found["fjord_time_to_first_token_seconds_count", "tiny"] == 0
    assert found["fjord_request_duration_seconds_count", "tiny"] == 1
    assert found["fjord_requests_total", "tiny", "chat", "0"] == 1


def test_names_that_clients_invent_do_not_become_labels() -> None:
    metrics = Metrics(["tiny"], list, dict)
    for number in range(50):
        metrics.answered(f"model-{number}", f"/path/{number}", 404)
        metrics.unknown_field(f"x_{number}")
    for odd in ("plain_name", "with space", "日本"):
        metrics.unknown_field(odd)
    found = read(metrics)
    assert found["fjord_requests_total", "unknown", "other", "404"] == 50
    assert found["fjord_unknown_fields_total", "private"] == 50
    assert found["fjord_unknown_fields_total", "odd"] == 1
    assert found["fjord_unknown_fields_total", "plain"] == 2
    assert not [key for key in found if "model-1" in key or "x_1" in key]


def test_two_servers_in_one_process_count_apart() -> None:
    one, other = Metrics(["tiny"], list, dict), Metrics(["tiny"], list, dict)
    one.answered("tiny", "chat", 200)
    assert ("fjord_requests_total", "tiny", "chat", "200") not in read(other)


def test_the_process_tells_its_memory_and_cpu() -> None:
    found = read(Metrics([], list, dict))
    assert found[("process_resident_memory_bytes",)] > 0
    assert found[("process_cpu_seconds_total",)] > 0


# With a fleet


@asynccontextmanager
async def site(
    refusals: dict[str, str], *, preload: bool = True, **args: Any
) -> AsyncIterator[tuple[httpx.AsyncClient, Fleet]]:
    spec = EngineSpec(kind="scripted", source="echo", args=args)
    models = [
        ModelSpec(alias="a", engine=spec, context_tokens=9, output_tokens=9, preload=preload),
        ModelSpec(alias="b", engine=spec, context_tokens=9, output_tokens=9),
    ]
    fleet = Fleet(models, ScriptedEngine)
    metrics = Metrics(["a", "b"], fleet.statuses, dict)
    app = Starlette(routes=[*ops_routes(fleet, metrics, lambda: refusals)])
    transport = httpx.ASGITransport(app)
    await fleet.start()
    try:
        async with httpx.AsyncClient(transport=transport, base_url="http://fjord") as client:
            yield client, fleet
    finally:
        await fleet.stop()


async def ready(fleet: Fleet) -> None:
    async with fleet.lease("a"):
        pass


async def test_health_answers_while_a_model_loads_and_ready_says_it_loads() -> None:
    async with site({}, load_s=60) as (client, _):
        assert (await client.get("/health")).json() == {"status": "ok"}
        await asyncio.sleep(0)
        answer = await client.get("/ready")
        assert answer.status_code == 503
        (engine,) = answer.json()["engines"]
        assert (engine["state"], engine["aliases"]) == ("starting", ["a", "b"])


async def test_ready_is_200_once_every_preloaded_model_serves() -> None:
    async with site({}) as (client, fleet):
        await ready(fleet)
        answer = await client.get("/ready")
        assert answer.status_code == 200
        assert answer.json()["status"] == "ready"
        assert answer.json()["engines"][0]["state"] == "ready"


async def test_ready_says_why_a_load_failed() -> None:
    async with site({}, fail_load="the file model.safetensors is cut short") as (client, fleet):
        with pytest.raises(Exception, match="cut short"):
            await ready(fleet)
        (engine,) = (await client.get("/ready")).json()["engines"]
        assert engine["state"] == "failed"
        assert engine["reason"] == "the file model.safetensors is cut short"


async def test_ready_is_503_while_the_ledger_refuses_or_the_server_drains() -> None:
    refusals: dict[str, str] = {}
    async with site(refusals) as (client, fleet):
        await ready(fleet)
        assert (await client.get("/ready")).status_code == 200
        refusals["ledger"] = "the disk is full"
        answer = await client.get("/ready")
        assert answer.status_code == 503
        assert answer.json()["refusing"] == {"ledger": "the disk is full"}


async def test_metrics_show_the_engines_state() -> None:
    async with site({}) as (client, fleet):
        async with fleet.lease("a"):
            text = (await client.get("/metrics")).text
        (key,) = [status.key for status in fleet.statuses()]
        assert f'fjord_engine_state{{engine="{key}",state="ready"}} 1.0' in text
        assert f'fjord_engine_state{{engine="{key}",state="failed"}} 0.0' in text
        assert f'fjord_engine_requests{{engine="{key}"}} 1.0' in text
        assert f'fjord_engine_restarts_total{{engine="{key}"}} 0.0' in text
