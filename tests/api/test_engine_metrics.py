"""/metrics of a whole server: its engines' states, loads, ends, and what their schedulers tell."""

from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from engines.stats import EngineStats
from engines.testing.scripted import ScriptedEngine
from tests.support.open_server import site

pytestmark = pytest.mark.anyio


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
