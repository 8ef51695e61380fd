"""A collector of traces on loopback: OTLP over HTTP as any other takes it, decoded by protobuf."""

import gzip
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from tests.support.serving import wait_until

SERVER, INTERNAL = 2, 1
"""Kinds of spans."""
ERROR = 2


@dataclass(frozen=True)
class TakenSpan:
    """One that was exported."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    kind: int
    began_ns: int
    ended_ns: int
    is_error: bool
    state: str
    flags: int
    attributes: Mapping[str, Any]

    def __getitem__(self, name: str) -> Any:
        return self.attributes.get(name)


@dataclass
class TestCollector:
    """What came, and how it is answered."""

    __test__ = False

    url: str = ""
    status: int = 200
    answer: bytes = ExportTraceServiceResponse().SerializeToString()
    bodies: list[bytes] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    go_on: threading.Event = field(default_factory=threading.Event)
    """Unset: a POST is not answered."""

    def requests(self) -> list[Any]:
        return [ExportTraceServiceRequest.FromString(body) for body in tuple(self.bodies)]

    def spans(self) -> list[TakenSpan]:
        return [
            _span(span)
            for request in self.requests()
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def resource(self) -> Mapping[str, Any]:
        return _values(self.requests()[0].resource_spans[0].resource.attributes)

    def trace(self, name: str, count: int = 1) -> list[TakenSpan]:
        """The spans of the `count`th trace whose first span is called `name`."""

        def found() -> list[TakenSpan]:
            return [each for each in self.spans() if each.name == name]

        wait_until(lambda: len(found()) >= count, f"{count} of {name} came")
        trace_id = found()[count - 1].trace_id
        return [each for each in self.spans() if each.trace_id == trace_id]


def _span(span: Any) -> TakenSpan:
    return TakenSpan(
        name=span.name,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        kind=span.kind,
        began_ns=span.start_time_unix_nano,
        ended_ns=span.end_time_unix_nano,
        is_error=span.status.code == ERROR,
        state=span.trace_state,
        flags=span.flags,
        attributes=_values(span.attributes),
    )


def _values(attributes: Any) -> dict[str, Any]:
    return {each.key: _value(each.value) for each in attributes}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(each) for each in value.array_value.values]
    return getattr(value, kind)


@contextmanager
def collecting(port: int = 0) -> Iterator[TestCollector]:
    """One that answers, until the block ends."""
    collector = TestCollector()
    collector.go_on.set()

    class Taking(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers["content-encoding"] == "gzip":
                body = gzip.decompress(body)
            collector.go_on.wait(60)
            collector.headers.append({k.lower(): v for k, v in self.headers.items()})
            collector.paths.append(self.path)
            if collector.status == 200:
                collector.bodies.append(body)
            self.send_response(collector.status)
            self.send_header("content-length", str(len(collector.answer)))
            self.end_headers()
            self.wfile.write(collector.answer)

        def log_message(self, *_: Any) -> None:
            """Nothing to stderr."""

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True
        allow_reuse_address = True

        def handle_error(self, *_: Any) -> None:
            """Whoever was to be answered is gone."""

    server = Quiet(("127.0.0.1", port), Taking)
    collector.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield collector
    finally:
        collector.go_on.set()
        server.shutdown()
        thread.join()
        server.server_close()
