"""/metrics, read as Prometheus reads it: what is counted of requests, and under which labels."""

from dataclasses import dataclass
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from engines.fleet.device_memory import HOST, MemoryNeed
from engines.fleet.status import EngineStatus
from server.ledger.records import UsageRecord
from server.metrics import Metrics
from server.requests.live import LiveRun
from server.requests.supervisor import Supervisor


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
    owner: str = "tests"

    def tick(self, now: float) -> None: ...

    def cut(self, why: str) -> None: ...

    def live(self) -> LiveRun:
        return LiveRun()


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
