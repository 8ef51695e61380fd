"""How each end of a request shows in its trace."""

from typing import Any

import httpx
import pytest

from server.ledger.allowance import Budget
from server.ledger.records import KeyLimits
from tests.support import traced
from tests.support.collectors import TestCollector
from tests.support.serving import Served
from tests.support.traced import (
    CHAT,
    GENERATION,
    ask,
    body,
    flat,
    trace_of,
)

collector, served, nothing_before = traced.collector, traced.served, traced.nothing_before


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
