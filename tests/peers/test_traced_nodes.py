"""A request through a front is one trace: what the node does of it hangs under the front's span."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from server.http.request_log import LINE, RequestLine, trace_context
from tests.support import traced
from tests.support.collectors import SERVER, TakenSpan, TestCollector
from tests.support.peers import PeerSite, peer_site
from tests.support.serving import scripted, wait_until
from tests.support.sites import new_site, postgres_server
from tests.support.traced import CALLER, CHAT

collector, nothing_before = traced.collector, traced.nothing_before
MODELS = (scripted("m", text="one two"), scripted("e", task="embed"))
CHANNEL, EMBED = "POST /peer/v1/channel", "POST /peer/v1/embed"


@pytest.fixture(scope="module")
def site(collector: TestCollector, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PeerSite]:
    settings = {"otlp_endpoint": collector.url}
    folder = tmp_path_factory.mktemp("site")
    with (
        postgres_server() as server,
        peer_site(folder, new_site(server), *MODELS, settings=settings) as found,
    ):
        yield found


def ask(site: PeerSite, path: str = CHAT, **headers: str) -> httpx.Response:
    body = {"model": "e", "input": "hi"}
    if path == CHAT:
        body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}  # type: ignore[dict-item]
    url, key = f"{site.nodes[0].url}{path}", {"X-API-Key": site.key}
    return httpx.post(url, json=body, headers={**key, **headers}, timeout=30)


def both(
    collector: TestCollector, front: str, node: str
) -> tuple[list[TakenSpan], list[TakenSpan]]:
    """The front's spans, the node's: each begins with its server's."""

    def names() -> list[str]:
        return [span.name for span in collector.spans() if span.kind == SERVER]

    wait_until(lambda: {front, node} <= set(names()), "both came")
    [root] = [span for span in collector.spans() if span.name == node]
    here = collector.trace(front)
    under = {root.span_id}
    for span in here:
        under |= {span.span_id} if span.parent_id in under else set()
    return (
        [span for span in here if span.span_id not in under],
        [span for span in here if span.span_id in under],
    )


@pytest.mark.parametrize("headers", [{}, {"traceparent": CALLER, "tracestate": "vendor=a1"}])
def test_a_generation_is_one_trace(
    site: PeerSite, collector: TestCollector, headers: dict[str, str]
) -> None:
    name = ask(site, **headers).headers["x-request-id"]
    front, node = both(collector, f"POST {CHAT}", CHANNEL)
    assert [span.name for span in front] == [
        *(f"POST {CHAT}", "chat m", "queue", "prompt", "prefill", "decode", "settle")
    ]
    assert [span.name for span in node] == [CHANNEL, "chat m", "queue", "prefill", "decode"]
    assert node[0].parent_id == front[1].span_id
    assert {span.trace_id for span in node} == {front[0].trace_id}
    if headers:
        assert front[0].trace_id == CALLER[3:35]
        assert front[0].parent_id == CALLER[36:52]
        assert {span.state for span in front + node} == {"vendor=a1"}
    assert str(node[0]["fjord.request_id"]).startswith(name)
    assert node[1]["gen_ai.usage.output_tokens"] == front[1]["gen_ai.usage.output_tokens"] == 3
    assert node[1]["fjord.end"] == "ok"


def test_an_embedding_is_one_trace(site: PeerSite, collector: TestCollector) -> None:
    ask(site, "/v1/embeddings")
    front, node = both(collector, "POST /v1/embeddings", EMBED)
    assert [span.name for span in node] == [EMBED]
    assert node[0].parent_id == front[1].span_id


def test_what_its_caller_does_not_sample_is_sampled_nowhere(
    site: PeerSite, collector: TestCollector
) -> None:
    ask(site, traceparent=CALLER[:-2] + "00")
    ask(site, "/v1/embeddings")
    both(collector, "POST /v1/embeddings", EMBED)
    assert {span.trace_id for span in collector.spans()}.isdisjoint({CALLER[3:35]})
    assert CHANNEL not in {span.name for span in collector.spans()}


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], ("", "")),
        ([(b"traceparent", b"a")], ("a", "")),
        ([(b"traceparent", b"a"), (b"tracestate", b"b"), (b"tracestate", b"c")], ("a", "b,c")),
        ([(b"traceparent", b"a"), (b"traceparent", b"b")], ("", "")),
        ([(b"traceparent", b"a" * 513)], ("", "")),
        ([(b"tracestate", b"b")], ("", "")),
    ],
)
def test_a_front_that_exports_nothing_passes_its_callers_trace_on(
    headers: list[Any], expected: tuple[str, str]
) -> None:
    scope: Any = {"headers": headers, LINE: RequestLine("r")}
    assert trace_context(scope) == expected
