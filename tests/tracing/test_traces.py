"""One trace a request: what its spans are, whose child it is, how each end shows."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from server.ledger.keys import Budget
from server.ledger.records import KeyLimits
from server.tracing import export
from tests.support.collectors import INTERNAL, SERVER, TakenSpan, TestCollector, collecting
from tests.support.serving import Served, make_key, scripted, serving, wait_until

CHAT = "/v1/chat/completions"
SECRET = "Xyzzy"
BODIES: dict[str, dict[str, Any]] = {
    CHAT: {"messages": [{"role": "user", "content": f"{SECRET} one two three"}]},
    "/v1/completions": {"prompt": f"{SECRET} one two three", "max_tokens": 5},
    "/v1/responses": {"input": f"{SECRET} one two three"},
    "/v1/embeddings": {"input": f"{SECRET} one two three"},
    "/v1/tokenize": {"prompt": f"{SECRET} one two three"},
}
OPERATIONS = {
    CHAT: "chat m",
    "/v1/completions": "text_completion m",
    "/v1/responses": "chat m",
    "/v1/embeddings": "embeddings e",
    "/v1/tokenize": "tokenize m",
}
GENERATION = ["queue", "prompt", "prefill", "decode", "settle"]
PHASES = dict.fromkeys((CHAT, "/v1/completions", "/v1/responses"), GENERATION) | {
    "/v1/embeddings": ["queue", "embed", "settle"],
    "/v1/tokenize": ["queue", "tokenize"],
}
CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture(scope="module")
def collector() -> Iterator[TestCollector]:
    with pytest.MonkeyPatch.context() as patch, collecting() as running:
        patch.setattr(export, "EVERY_S", 0.02)
        yield running


@pytest.fixture(scope="module")
def served(collector: TestCollector, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    models = [
        scripted("m"),
        scripted("slow", token_delay_s=0.05),
        scripted("e", task="embed"),
        scripted("dying", die_after_tokens=2),
        scripted("broken", fail_load="no such file: /srv/secret/weights"),
    ]
    settings = {"otlp_endpoint": collector.url, "keep_alive_s": 0.2}
    with serving(tmp_path_factory.mktemp("data"), *models, settings=settings) as server:
        yield server


@pytest.fixture(autouse=True)
def _nothing_before(collector: TestCollector) -> None:
    collector.bodies.clear()


def body(path: str, **fields: Any) -> dict[str, Any]:
    return {"model": "e" if "embed" in path else "m", **BODIES[path], **fields}


def ask(served: Served, path: str = CHAT, **fields: Any) -> httpx.Response:
    headers = {**served.headers, **fields.pop("headers", {})}
    return httpx.post(served.url + path, headers=headers, json=body(path, **fields), timeout=30)


def trace_of(collector: TestCollector, path: str = CHAT) -> list[TakenSpan]:
    return collector.trace(f"POST {path}")


def flat(spans: list[TakenSpan]) -> str:
    return json.dumps([[span.name, span.state, dict(span.attributes)] for span in spans])


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


@pytest.mark.parametrize("path", BODIES)
def test_the_callers_trace_goes_on(served: Served, collector: TestCollector, path: str) -> None:
    headers = {"traceparent": CALLER, "tracestate": "vendor=a1,other=b"}
    ask(served, path, headers=headers)
    root, *rest = trace_of(collector, path)
    assert root.trace_id == CALLER[3:35]
    assert root.parent_id == CALLER[36:52]
    assert (root.flags, {span.flags for span in rest}) == (0x301, {0x101})
    assert {span.state for span in (root, *rest)} == {"vendor=a1,other=b"}


def test_two_at_once_of_one_caller_stay_apart(served: Served, collector: TestCollector) -> None:
    for _ in range(2):
        ask(served, headers={"traceparent": CALLER})
    wait_until(lambda: len(collector.spans()) == 14, "both came")
    spans = collector.spans()
    assert {span.trace_id for span in spans} == {CALLER[3:35]}
    assert len({span.span_id for span in spans}) == 14


def test_what_the_caller_does_not_sample_is_not_exported(
    served: Served, collector: TestCollector
) -> None:
    ask(served, headers={"traceparent": CALLER[:-2] + "00"})
    ask(served, "/v1/completions")
    trace_of(collector, "/v1/completions")
    assert {span.trace_id for span in collector.spans()} != {CALLER[3:35]}
    assert [span for span in collector.spans() if span.name == f"POST {CHAT}"] == []


MALFORMED = [
    "",
    "nonsense",
    "00-" + "0" * 32 + "-00f067aa0ba902b7-01",
    "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
    "ff" + CALLER[2:],
    CALLER.upper(),
    CALLER + "-more",
    CALLER[:-1],
    "01" + CALLER[2:] + "-" + "x" * 600,
    "\xff" * 55,
]


@pytest.mark.parametrize("traceparent", MALFORMED)
def test_a_malformed_context_is_ignored(
    served: Served, collector: TestCollector, traceparent: str, caplog: pytest.LogCaptureFixture
) -> None:
    headers = {"traceparent": traceparent.encode("latin-1"), "tracestate": b"a=b"}
    assert ask(served, headers=headers).status_code == 200
    root, *_ = trace_of(collector)
    assert (root.parent_id, root.state) == ("", "")
    assert root.trace_id != CALLER[3:35]
    assert caplog.records == []


@pytest.mark.parametrize("state", ["a=" + "b" * 600, "nonsense", "=,=,,", "a=b,a=c", "\xe6=\xf8"])
def test_a_wrong_tracestate_costs_no_trace(
    served: Served, collector: TestCollector, state: str, caplog: pytest.LogCaptureFixture
) -> None:
    headers = {"traceparent": CALLER, "tracestate": state.encode("latin-1")}
    assert ask(served, headers=headers).status_code == 200
    root, *_ = trace_of(collector)
    assert root.trace_id == CALLER[3:35]
    assert len(root.state) < 20
    assert caplog.records == []


def test_two_traceparents_are_none(served: Served, collector: TestCollector) -> None:
    headers = [("traceparent", CALLER), ("traceparent", CALLER), *served.headers.items()]
    httpx.post(served.url + CHAT, headers=headers, json=body(CHAT))
    root, *_ = trace_of(collector)
    assert root.parent_id == ""


@pytest.mark.parametrize(
    ("status", "code", "fields"),
    [
        (400, "INVALID_PARAMETER", {"temperature": 99}),
        (400, "CONTEXT_LENGTH_EXCEEDED", {"messages": [{"role": "user", "content": "a " * 40000}]}),
        (401, "AUTH_FAILED", {"headers": {"X-API-Key": "wrong"}}),
        (404, "MODEL_NOT_FOUND", {"model": "nope"}),
        (413, "REQUEST_TOO_LARGE", {"user": "x" * 9 * 2**20}),
    ],
)
def test_a_refusal_is_no_error_of_the_server(
    served: Served, collector: TestCollector, status: int, code: str, fields: dict[str, Any]
) -> None:
    assert ask(served, **fields).status_code == status
    root, *rest = trace_of(collector)
    assert root["http.response.status_code"] == status
    assert (root.is_error, root["error.type"], root["fjord.error.code"]) == (False, None, code)
    assert not any(span.is_error for span in rest)


def test_a_key_without_budget_and_one_beyond_its_limit(
    served: Served, collector: TestCollector
) -> None:
    poor = served.new_key(budget=Budget(kind="money", amount=0, period="total"))
    assert ask(served, headers={"X-API-Key": poor}).status_code == 402
    [root] = trace_of(collector)
    assert (root.is_error, root["fjord.error.code"]) == (False, "BUDGET_EXCEEDED")
    hasty = served.new_key(limits=KeyLimits(requests_per_minute=1, burst=0))
    assert [ask(served, headers={"X-API-Key": hasty}).status_code for _ in "ab"] == [200, 429]
    [root] = collector.trace(f"POST {CHAT}", 3)
    assert (root.is_error, root["fjord.error.code"]) == (False, "RATE_LIMIT_EXCEEDED")
    assert root["http.response.status_code"] == 429


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "streamed"])
def test_an_engine_that_dies_is_an_error(
    served: Served, collector: TestCollector, is_stream: bool
) -> None:
    answer = ask(served, model="dying", stream=is_stream)
    assert answer.status_code == (200 if is_stream else 500)
    root, work, *phases = trace_of(collector)
    assert root["http.response.status_code"] == answer.status_code
    code = "MODEL_UNAVAILABLE" if is_stream else "INTERNAL_ERROR"
    assert (root.is_error, root["error.type"], work["error.type"]) == (True, code, code)
    assert (work.is_error, work["fjord.end"]) == (True, "engine_died")
    assert [phase.name for phase in phases] == [p for p in GENERATION if is_stream or p != "decode"]


def test_a_model_that_cannot_be_loaded(served: Served, collector: TestCollector) -> None:
    assert ask(served, model="broken").status_code == 503
    root, work, *phases = trace_of(collector)
    assert (root.is_error, root["error.type"]) == (True, "MODEL_UNAVAILABLE")
    assert (work.is_error, work["fjord.end"]) == (True, "rejected")
    assert [phase.name for phase in phases] == ["queue", "settle"]
    assert "secret" not in flat(collector.spans())


def test_a_deadline_is_an_error(served: Served, collector: TestCollector) -> None:
    slow: dict[str, Any] = {"model": "slow", "max_tokens": 400, "ignore_eos": True}
    answer = ask(served, **slow, headers={"X-Request-Timeout": "0.3"})
    assert answer.status_code == 504
    root, work, *phases = trace_of(collector)
    assert (root.is_error, root["error.type"]) == (True, "REQUEST_TIMEOUT")
    assert (work.is_error, work["fjord.end"]) == (True, "timed_out")
    assert phases[-2].name == "decode"


def test_a_client_that_leaves_is_no_error(served: Served, collector: TestCollector) -> None:
    fields = {"model": "slow", "stream": True, "max_tokens": 400, "ignore_eos": True}
    with httpx.stream(
        "POST", served.url + CHAT, headers=served.headers, json=body(CHAT, **fields)
    ) as answer:
        next(answer.iter_lines())
    root, work, *phases = trace_of(collector)
    assert not any(span.is_error for span in (root, work, *phases))
    assert work["fjord.end"] == "client_left"
    assert 0 < work["gen_ai.usage.output_tokens"] < 400


def test_a_client_that_leaves_before_an_answer_was_sent_none(
    served: Served, collector: TestCollector
) -> None:
    fields = {"model": "slow", "max_tokens": 400, "ignore_eos": True}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(
            served.url + CHAT, headers=served.headers, json=body(CHAT, **fields), timeout=0.3
        )
    root, work, *_ = trace_of(collector)
    assert root["http.response.status_code"] is None
    assert (root.is_error, work["fjord.end"]) == (False, "client_left")


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
