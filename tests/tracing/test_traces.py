"""One trace a request: what its spans are, and what is in them."""

from typing import Any

import httpx
import pytest

from tests.support import traced
from tests.support.collectors import INTERNAL, SERVER, TestCollector
from tests.support.serving import Served, make_key, wait_until
from tests.support.traced import (
    BODIES,
    GENERATION,
    OPERATIONS,
    PHASES,
    SECRET,
    ask,
    flat,
    trace_of,
)

collector, served, nothing_before = traced.collector, traced.served, traced.nothing_before


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("path", BODIES)
def test_a_request_is_one_trace_through_front_queue_and_engine(
    served: Served, collector: TestCollector, path: str, is_stream: bool
) -> None:
    fields = {"stream": True} if is_stream and PHASES[path] is GENERATION else {}
    assert ask(served, path, **fields).status_code == 200
    root, work, *phases = trace_of(collector, path)
    assert (root.kind, root.parent_id, root["http.route"]) == (SERVER, "", path)
    assert root["http.response.status_code"] == 200
    assert (work.name, work.kind, work.parent_id) == (OPERATIONS[path], INTERNAL, root.span_id)
    assert [phase.name for phase in phases] == PHASES[path]
    assert {phase.parent_id for phase in phases} == {work.span_id}
    ends = [work.began_ns, *(phase.ended_ns for phase in phases)]
    assert [phase.began_ns for phase in phases] == ends[:-1]
    assert ends == sorted(ends)
    assert root.began_ns <= work.began_ns
    assert work.ended_ns == ends[-1] <= root.ended_ns
    assert not any(span.is_error for span in (root, work, *phases))


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "streamed"])
def test_the_works_attributes_are_those_of_the_conventions(
    served: Served, collector: TestCollector, is_stream: bool
) -> None:
    streamed = {"stream": True, "stream_options": {"include_usage": True}}
    options: dict[str, Any] = streamed if is_stream else {}
    said = ask(served, max_tokens=50, temperature=0.5, top_p=0.9, **options).text
    root, work, *_ = trace_of(collector)
    expected = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "fjord",
        "gen_ai.request.model": "m",
        "gen_ai.response.model": "m",
        "gen_ai.request.max_tokens": 50,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.top_p": 0.9,
        "gen_ai.response.finish_reasons": ["stop"],
        "fjord.end": "ok",
    }
    assert {name: work[name] for name in expected} == expected
    assert f'"prompt_tokens":{work["gen_ai.usage.input_tokens"]},' in said
    assert f'"completion_tokens":{work["gen_ai.usage.output_tokens"]},' in said
    ttft_s = work["gen_ai.server.time_to_first_token"]
    assert 0 < ttft_s <= 1e-9 * (work.ended_ns - work.began_ns)
    assert (work["gen_ai.request.stream"], work["gen_ai.response.time_to_first_chunk"]) == (
        (True, ttft_s) if is_stream else (None, None)
    )
    assert root["fjord.request_id"]
    assert root["http.request.method"] == "POST"


@pytest.mark.parametrize("path", BODIES)
def test_nothing_of_content_keys_or_headers_is_in_a_span(
    served: Served, collector: TestCollector, path: str
) -> None:
    headers = {"User-Agent": "agent-smith", "X-Forwarded-For": "203.0.113.9"}
    ask(served, path, headers=headers)
    asked = f"{served.url}/v1/{SECRET}?key={SECRET}"
    httpx.get(asked, headers=served.headers)
    collector.trace("GET")
    told = flat(collector.spans())
    for secret in (SECRET, served.key, served.key[-8:], "agent-smith", "203.0.113.9"):
        assert secret not in told
        assert secret.encode() not in b"".join(collector.bodies)


def test_other_paths_have_a_span_alone_and_probes_none(
    served: Served, collector: TestCollector
) -> None:
    for path in ("/health", "/metrics", "/nope/at/all", "/v1/models/m", "/v1/models"):
        httpx.get(served.url + path, headers=served.headers)
    httpx.get(f"{served.url}/admin/v1/keys")
    operator = {"X-API-Key": make_key(served.data_dir, service="admin")}
    there = f"{served.url}/admin/v1/models"
    wait_until(lambda: httpx.get(there, headers=operator).status_code == 200, "its key is known")
    httpx.request("PROPFIND", f"{served.url}/v1/models")
    models = {"GET /v1/models/{model}", "GET /v1/models", "HTTP /v1/models"}
    wait_until(
        lambda: any(span.name == "HTTP /v1/models" for span in collector.spans()), "all came"
    )
    found = {span.name: span for span in collector.spans()}
    assert found.keys() == {"GET", "GET /admin/v1/models", *models}
    assert found["HTTP /v1/models"]["http.request.method"] == "_OTHER"
    assert found["GET"]["fjord.error.code"] in ("NOT_FOUND", "AUTH_FAILED")


def test_who_sends_is_told(served: Served, collector: TestCollector) -> None:
    ask(served)
    trace_of(collector)
    about = collector.resource()
    assert (about["service.name"], about["host.name"]) == ("fjord", "test")
    assert about["service.version"]
    assert collector.paths[-1] == "/v1/traces"
    assert collector.headers[-1]["content-type"] == "application/x-protobuf"


def test_a_model_that_is_only_loaded_has_its_trace(
    served: Served, collector: TestCollector
) -> None:
    answer = httpx.post(served.url + "/api/chat", headers=served.headers, json={"model": "m"})
    assert answer.json()["done_reason"] == "load"
    _, work, *phases = trace_of(collector, "/api/chat")
    assert (work.name, [phase.name for phase in phases]) == ("load m", ["queue", "load"])
