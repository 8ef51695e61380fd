"""/metrics, /health and /ready, read as Prometheus and a load balancer read them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from engines.base import EngineUnavailable
from engines.fleet.device_memory import HOST, MemoryNeed
from engines.fleet.fleet import Fleet
from engines.fleet.status import EngineStatus
from engines.registry.spec import EngineSpec, ModelSpec
from engines.stats import EngineStats
from engines.testing.scripted import ScriptedEngine
from server.accounts.auth import KeyRing
from server.api.services import Services
from server.app import create_app
from server.ledger.ledger import Ledger
from server.ledger.records import UsageRecord
from server.metrics import Metrics
from server.requests.supervisor import Supervisor
from server.settings import Settings
from tests.support.serving import registry_of, services_of

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
        metrics.answered(f"model-{number}", "chat", 404)
        metrics.unknown_field(f"x_{number}")
    for odd in ("plain_name", "with space", "日本", "a" * 256, "a" * 257):
        metrics.unknown_field(odd)
    found = read(metrics)
    assert found["fjord_requests_total", "unknown", "chat", "404"] == 50
    assert found["fjord_unknown_fields_total", "private"] == 50
    assert found["fjord_unknown_fields_total", "odd"] == 2
    assert found["fjord_unknown_fields_total", "plain"] == 3
    assert not [key for key in found if "model-1" in key or "x_1" in key]


def test_two_servers_in_one_process_count_apart() -> None:
    one, other = Metrics(["tiny"], list, dict), Metrics(["tiny"], list, dict)
    one.answered("tiny", "chat", 200)
    assert ("fjord_requests_total", "tiny", "chat", "200") not in read(other)


def test_the_process_tells_its_memory_and_cpu() -> None:
    found = read(Metrics([], list, dict))
    assert found[("process_resident_memory_bytes",)] > 0
    assert found[("process_cpu_seconds_total",)] > 0


# A whole server, whose parts are at hand


@dataclass
class Site:
    client: httpx.AsyncClient
    fleet: Fleet
    ledger: Ledger
    services: Services

    async def ready(self) -> httpx.Response:
        return await self.client.get("/ready")

    async def loaded(self) -> None:
        async with self.fleet.lease("a"):
            pass


@asynccontextmanager
async def site(
    data_dir: Path,
    *,
    preload: bool = True,
    engine: type[ScriptedEngine] = ScriptedEngine,
    **args: Any,
) -> AsyncIterator[Site]:
    spec = EngineSpec(kind="scripted", source="echo", args=args)
    models = [
        ModelSpec(
            alias="a",
            engine=spec,
            context_tokens=9,
            output_tokens=9,
            load="start" if preload else "demand",
        ),
        ModelSpec(alias="b", engine=spec, context_tokens=9, output_tokens=9),
    ]
    registry = registry_of(*models)
    fleet, ledger = Fleet(models, engine), Ledger.open(data_dir, node="n")
    app = create_app(Settings(data_dir=data_dir), registry, fleet, ledger, KeyRing())
    await ledger.start(on_keys=lambda keys: None)
    await fleet.start()
    try:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://fjord") as client:
            yield Site(client, fleet, ledger, services_of(app))
    finally:
        await fleet.stop()
        await ledger.stop()


async def test_health_answers_while_a_model_loads_and_ready_says_it_loads(tmp_path: Path) -> None:
    async with site(tmp_path, load_s=60) as server:
        assert (await server.client.get("/health")).json() == {"status": "ok"}
        await asyncio.sleep(0)
        answer = await server.ready()
        assert answer.status_code == 503
        (engine,) = answer.json()["engines"]
        assert engine["state"] in ("fetching", "starting")
        assert engine["aliases"] == ["a", "b"]


async def test_ready_is_200_once_every_preloaded_model_serves(tmp_path: Path) -> None:
    async with site(tmp_path) as server:
        await server.loaded()
        answer = await server.ready()
        assert answer.status_code == 200
        assert answer.json()["status"] == "ready"
        assert answer.json()["engines"][0]["state"] == "ready"


async def test_ready_says_that_a_load_failed_and_the_log_says_why(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    why = "the folder /srv/secret/weights is empty"
    async with site(tmp_path, fail_load=why) as server:
        with pytest.raises(EngineUnavailable):
            await server.loaded()
        answer = await server.ready()
        (engine,) = answer.json()["engines"]
        assert engine["state"] == "failed"
        assert engine["reason"] == "It could not be loaded; the server's log says why."
        assert "secret" not in answer.text
        assert why in caplog.text


async def test_ready_is_503_while_the_ledger_refuses_or_the_server_drains(tmp_path: Path) -> None:
    async with site(tmp_path) as server:
        await server.loaded()
        assert (await server.ready()).status_code == 200
        server.ledger.writer.trouble = "postgres://fjord:s3cret@db/x: /srv/ledger.sqlite3 is full"
        answer = await server.ready()
        assert answer.status_code == 503
        words = "Usage cannot be recorded now; the server's log says why."
        assert answer.json()["refusing"] == {"ledger": words}
        server.ledger.writer.trouble = None
        assert (await server.ready()).status_code == 200
        await server.services.supervisor.drain(0)
        assert (await server.ready()).json()["refusing"] == {
            "drain": "The server is shutting down."
        }


async def test_metrics_show_the_engines_state(tmp_path: Path) -> None:
    async with site(tmp_path) as server:
        async with server.fleet.lease("a"):
            text = (await server.client.get("/metrics")).text
        (key,) = [status.key for status in server.fleet.statuses()]
        assert f'fjord_engine_state{{engine="{key}",state="ready"}} 1.0' in text
        assert f'fjord_engine_state{{engine="{key}",state="failed"}} 0.0' in text
        assert f'fjord_engine_requests{{engine="{key}"}} 1.0' in text
        assert f'fjord_engine_restarts_total{{engine="{key}"}} 0.0' in text


async def test_metrics_show_loads_memory_turns_and_why_an_engine_ended(tmp_path: Path) -> None:
    async with site(tmp_path, preload=False) as server:
        await server.loaded()
        (key,) = [status.key for status in server.fleet.statuses()]
        name = f'engine="{key}"'
        text = (await server.client.get("/metrics")).text
        assert f"fjord_engine_loads_total{{{name}}} 1.0" in text
        assert f"fjord_engine_pinned{{{name}}} 0.0" in text
        assert f"fjord_engine_turn_wait_seconds_total{{{name}}}" in text
        assert f"fjord_engine_last_used_timestamp_seconds{{{name}}} 1" in text
        assert "fjord_engine_unloads_total{" not in text
        assert "fjord_engine_planned_bytes{" not in text
        await server.fleet.commands.give("unload", "a")
        await server.loaded()  # once it is gone
        text = (await server.client.get("/metrics")).text
        assert f'fjord_engine_unloads_total{{{name},reason="operator"}} 1.0' in text
        assert f"fjord_engine_loads_total{{{name}}} 2.0" in text


def test_metrics_show_the_memory_planned_on_each_card() -> None:
    status = EngineStatus(
        key="k",
        kind="vllm",
        source="s",
        aliases=("a",),
        state="ready",
        since=0.0,
        reason=None,
        leases=0,
        waiting=0,
        restarts=0,
        is_preloaded=False,
        need=MemoryNeed(bytes_each=7, devices=2, host_bytes=3),
        measured_bytes=19,
        devices=(HOST, 0, 3),
    )
    found = read(Metrics([], lambda: [status], dict))
    planned = {key[1:]: v for key, v in found.items() if key[0] == "fjord_engine_planned_bytes"}
    assert planned == {("host", "k"): 3, ("0", "k"): 7, ("3", "k"): 7}
    assert status.planned_bytes == 17
    assert found["fjord_engine_measured_bytes", "k"] == 19


class Measuring(ScriptedEngine):
    """Tells what a scheduler of its own would."""

    def stats(self) -> EngineStats:
        return EngineStats(
            running_requests=3,
            waiting_requests=2,
            kv_cache_usage=0.25,
            preemptions=1,
            prefix_query_tokens=80,
            prefix_hit_tokens=64,
            draft_tokens=9,
            accepted_tokens=4,
        )


async def test_metrics_show_what_an_engines_scheduler_tells(tmp_path: Path) -> None:
    async with site(tmp_path, preload=False, engine=Measuring) as server:
        cold = (await server.client.get("/metrics")).text
        assert "fjord_engine_running_requests{" not in cold
        async with server.fleet.lease("a"):
            text = (await server.client.get("/metrics")).text
        (key,) = [status.key for status in server.fleet.statuses()]
        told = {
            sample.name: sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.labels == {"engine": key}
        }
        expected = {
            "running_requests": 3,
            "queued_requests": 2,
            "kv_cache_usage_ratio": 0.25,
            "preemptions_total": 1,
            "prefix_query_tokens_total": 80,
            "prefix_hit_tokens_total": 64,
            "draft_tokens_total": 9,
            "accepted_draft_tokens_total": 4,
        }
        assert {name: told[f"fjord_engine_{name}"] for name in expected} == expected


async def test_an_engine_that_tells_nothing_has_no_such_lines(tmp_path: Path) -> None:
    async with site(tmp_path) as server:
        async with server.fleet.lease("a"):
            text = (await server.client.get("/metrics")).text
        assert "fjord_engine_kv_cache_usage_ratio{" not in text
