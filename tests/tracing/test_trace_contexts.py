"""Whose child a trace is: what a caller's headers say, right and wrong."""

import httpx
import pytest

from tests.support import traced
from tests.support.collectors import TestCollector
from tests.support.serving import Served, wait_until
from tests.support.traced import (
    BODIES,
    CALLER,
    CHAT,
    ask,
    body,
    trace_of,
)

collector, served, nothing_before = traced.collector, traced.served, traced.nothing_before


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
