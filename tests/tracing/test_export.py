"""Export is bounded and never in the way, whatever the collector does; nothing is lost unseen."""

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Sampler, SamplingResult
from prometheus_client.parser import text_string_to_metric_families

from server.tracing import collector as collector_file
from server.tracing import export
from server.tracing.address import CollectorAddress
from server.tracing.collector import Collector
from server.tracing.facts import TracedRequest
from server.tracing.spans import SpanMaker
from tests.support.collectors import TestCollector, collecting
from tests.support.paths import ROOT
from tests.support.serve_process import ask as ask_server
from tests.support.serve_process import environment, with_registry
from tests.support.serve_process import serving as serving_process
from tests.support.serving import Served, scripted, serving, wait_until

CHAT = "/v1/chat/completions"
NAME = f"POST {CHAT}"


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "EVERY_S", 0.02)
    monkeypatch.setattr(export, "PATIENCE_S", (0.02, 0.1))


@contextmanager
def traced(folder: Path, url: str) -> Iterator[Served]:
    with serving(folder, scripted("m"), settings={"otlp_endpoint": url}) as server:
        yield server


def ask(served: Served, count: int = 1) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "go"}]}
    for _ in range(count):
        answer = httpx.post(served.url + CHAT, headers=served.headers, json=body, timeout=5)
        assert answer.status_code == 200


def metric(served: Served, name: str, **labels: str) -> float:
    text = httpx.get(f"{served.url}/metrics").text
    samples = [s for f in text_string_to_metric_families(text) for s in f.samples]
    return next(s.value for s in samples if (s.name, s.labels) == (name, labels))


def dropped(served: Served, reason: str) -> float:
    return metric(served, "fjord_traces_dropped_total", reason=reason)


def roots(collector: TestCollector) -> int:
    return sum(span.name == NAME for span in collector.spans())


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name == "fjord.traces"]


@contextmanager
def speaking(said: bytes, on_and_on: bytes = b"") -> Iterator[str]:
    """A port that says this to whoever comes, and then that without an end."""
    server, over = socket.create_server(("127.0.0.1", 0)), threading.Event()

    def speak(peer: socket.socket) -> None:
        with peer:
            try:
                peer.recv(65536)
                peer.sendall(said)
                while on_and_on and not over.wait(0.01):
                    peer.sendall(on_and_on)
            except OSError:
                return

    def serve() -> None:
        while not over.is_set():
            try:
                peer, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=speak, args=(peer,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
    finally:
        over.set()
        server.close()


def test_a_collector_that_comes_late_gets_what_waited(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    port = free_port()
    with traced(tmp_path, f"http://127.0.0.1:{port}") as served:
        ask(served, 3)
        wait_until(lambda: warnings(caplog), "it is told")
        assert metric(served, "fjord_traces_exported_total") == 0
        assert metric(served, "fjord_traces_queued") == 3
        with collecting(port) as collector:
            wait_until(lambda: roots(collector) == 3, "all came")
            wait_until(lambda: metric(served, "fjord_traces_exported_total") == 3, "counted")
    [told] = warnings(caplog)
    assert f"127.0.0.1:{port} (ConnectError)" in told
    assert dropped_none(caplog)


def dropped_none(caplog: pytest.LogCaptureFixture) -> bool:
    return not [each for each in warnings(caplog) if "were not exported" in each]


def test_a_queue_that_is_full_drops_and_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(export, "MOST_QUEUED", 3)
    with traced(tmp_path, f"http://127.0.0.1:{free_port()}") as served:
        ask(served)
        wait_until(lambda: warnings(caplog), "the first is held")
        ask(served, 8)
        assert dropped(served, "queue_full") == 5
        assert metric(served, "fjord_traces_queued") == 4
    assert "4 traces were not exported: the server ends" in warnings(caplog)
    assert len(warnings(caplog)) == 2


@pytest.mark.parametrize("status", [400, 401, 404, 413, 415, 500, 302])
def test_what_a_collector_refuses_is_dropped_and_counted(
    tmp_path: Path, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    with collecting() as collector, traced(tmp_path, collector.url) as served:
        collector.status = status
        ask(served, 2)
        wait_until(lambda: dropped(served, "refused") == 2, "both are counted")
        collector.status = 200
        ask(served)
        wait_until(lambda: roots(collector) == 1, "the next is taken")
    assert [each for each in warnings(caplog) if f"HTTP {status}" in each] == warnings(caplog)
    assert len(warnings(caplog)) == 1


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_what_a_collector_cannot_take_now_is_sent_again(tmp_path: Path, status: int) -> None:
    with collecting() as collector, traced(tmp_path, collector.url) as served:
        collector.status = status
        ask(served, 2)
        wait_until(lambda: len(collector.paths) >= 3, "it tries again")
        collector.status = 200
        wait_until(lambda: roots(collector) == 2, "both came, once")
        assert dropped(served, "refused") == dropped(served, "queue_full") == 0


GARBAGE = {
    "no HTTP": b"\x00\x01\x02" * 100,
    "nothing": b"",
    "half a head": b"HTTP/1.1 200 OK\r\ncontent-le",
    "less than it says": b"HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\nabc",
    "a wrong length": b"HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n",
    "a head without end": b"HTTP/1.1 200 OK\r\nx: " + b"y" * 200_000,
    "no gzip": b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 3\r\n\r\nabc",
}


@pytest.mark.parametrize("said", GARBAGE.values(), ids=GARBAGE.keys())
def test_garbage_ends_nothing(
    tmp_path: Path, said: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with speaking(said) as url, traced(tmp_path, url) as served:
        ask(served, 3)

        def is_over() -> bool:
            return bool(warnings(caplog)) or metric(served, "fjord_traces_exported_total") == 3

        wait_until(is_over, "an answer was understood, or told as none")
        ask(served)
    assert [r for r in caplog.records if r.exc_info] == []


def test_an_answer_without_end_is_left_unread(tmp_path: Path) -> None:
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    chunk = b"8000\r\n" + b"x" * 0x8000 + b"\r\n"
    with speaking(head, chunk) as url, traced(tmp_path, url) as served:
        ask(served, 3)
        wait_until(lambda: metric(served, "fjord_traces_exported_total") == 3, "it is taken")


def test_an_answer_that_drips_is_left_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collector_file, "WAIT_S", 0.3)
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    with speaking(head, b"1\r\nx\r\n") as url, traced(tmp_path, url) as served:
        ask(served, 3)
        wait_until(lambda: metric(served, "fjord_traces_exported_total") == 3, "it is taken")


def test_a_collector_that_hangs_holds_up_neither_requests_nor_the_end(tmp_path: Path) -> None:
    with collecting() as collector:
        collector.go_on.clear()
        with traced(tmp_path, collector.url) as served:
            ask(served, 5)
            began = time.monotonic()
        assert time.monotonic() - began < 10
        collector.go_on.set()


def test_what_waits_is_exported_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "EVERY_S", 60.0)
    with collecting() as collector:
        with traced(tmp_path, collector.url) as served:
            ask(served, 3)
        assert roots(collector) == 3


class BrokenOnce(Sampler):
    """Of the first request it knows nothing."""

    calls = 0

    def should_sample(self, *args: Any, **more: Any) -> SamplingResult:
        self.calls += 1
        assert self.calls > 1
        return ALWAYS_ON.should_sample(*args, **more)

    def get_description(self) -> str:
        return "broken once"


@pytest.mark.anyio
async def test_a_bug_of_ours_costs_one_trace() -> None:
    with collecting() as collector:
        address = CollectorAddress(url=f"{collector.url}/v1/traces", named_by="a test")
        traces = export.TraceExport(Collector(address), SpanMaker(BrokenOnce()), {})
        await traces.start()
        for request_id in ("a", "b"):
            traces.ended(request(request_id))
        await traces.stop()
        [span] = collector.spans()
        assert span["fjord.request_id"] == "b"


def request(request_id: str) -> TracedRequest:
    return TracedRequest(
        request_id=request_id,
        method="GET",
        scheme="http",
        version="1.1",
        route="/",
        status=200,
        code="",
        traceparent=(),
        tracestate=(),
        began=1.0,
        ended=2.0,
        ended_at_ns=time.time_ns(),
        work=None,
    )


def test_where_nobody_asked_there_are_no_metrics_and_no_imports(tmp_path: Path) -> None:
    with serving(tmp_path, scripted("m")) as served:
        assert "fjord_traces" not in httpx.get(f"{served.url}/metrics").text
    look = "import sys, server.cli.serve; print([n for n in sys.modules if 'opentelemetry' in n])"
    command = [sys.executable, "-c", look]
    said = subprocess.run(command, capture_output=True, text=True, env=environment(), cwd=ROOT)
    assert said.stdout == "[]\n", said.stderr


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_hanging_collector_keeps_no_server_from_its_end(
    tmp_path: Path, number: signal.Signals
) -> None:
    home = with_registry(tmp_path)
    with collecting() as collector:
        collector.go_on.clear()
        with serving_process(home, "--no-auth", "--otlp-endpoint", collector.url) as server:
            url = server.url()
            server.until("Ready")
            for _ in range(5):
                assert ask_server(url).status_code == 200
            time.sleep(3)  # its thread hangs in a POST by now
            began = time.monotonic()
            assert server.ends(number) == 0
            assert time.monotonic() - began < export.FLUSH_S + 2
        collector.go_on.set()
