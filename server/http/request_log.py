"""The request id, and one structured line a request; knows nothing of what a request means.

Of our own, for its cost (CPU of the event loop's thread a request, one run on a laptop; all threads
together): ours 3.8 µs (9 to 13), structlog 10 to 16 (11 to 38), python-json-logger 10 to 27 (22 to
45), each in its own fastest form and behind a queue."""

import logging
import re
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

from server.http.asgi import App, Message, Receive, Scope, Send
from server.ids import new_id
from server.ledger.records import UsageRecord
from server.tracing.facts import (
    MOST_CONTEXT_BYTES,
    SpanPlace,
    TracedRequest,
    TracedWork,
    Traces,
)

LINE = "fjord.line"
"""The scope's key of this request's RequestLine."""

ANSWER_HEADERS = "fjord.answer_headers"
"""The scope's key of headers that this request's answer must carry, whatever it is."""

_SANE_ID = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
_PROBES = frozenset({"/health", "/ready", "/metrics", "/peer/v1/pulse"})
_UNWRAPPED = ("/v1/", "/peer/v1/")
_LINKS = "/console/welcome/"
"""What follows is a secret: whoever has it sets a password."""
_LEFT = 499
"""Of a client that left before it was answered: nothing was sent."""

log = logging.getLogger("fjord.request")


class RequestLine:
    """What one request's log line says. The handler notes what it knows; nobody else writes."""

    __slots__ = (
        *("caller", "code", "facts", "owner", "place", "record"),
        *("request_id", "route", "status", "traces", "work"),
    )

    def __init__(self, request_id: str, traces: Traces | None = None) -> None:
        self.request_id, self.traces = request_id, traces
        self.caller: TraceHeaders | None = None
        """The trace that it is part of, where it was not told by headers."""
        self.place: SpanPlace | None = None
        """Of its work in its trace, where another server was told of it."""
        self.status = 0
        """0: nothing was answered, the client left first."""
        self.code = ""
        """Of the error that was its end; "": it had none."""
        self.route = ""
        """The path, where it is one of the hot ones."""
        self.owner = ""
        """Whose key it came with; "": with none that is known."""
        self.record: UsageRecord | None = None
        """Of a metered request that a model was asked for."""
        self.work: TracedWork | None = None
        """What a trace says of it."""
        self.facts: dict[str, Any] = {}

    def note(self, **facts: Any) -> None:
        """Say more on the line: alias, key, tokens. Never content, never a secret."""
        self.facts.update(facts)


def line_of(scope: Scope) -> RequestLine:
    """The line of the request with this scope."""
    line: RequestLine = scope[LINE]
    return line


TraceHeaders: TypeAlias = tuple[list[bytes], list[bytes]]
"""Of traceparent and of tracestate, as they came."""
Ended: TypeAlias = Callable[[Scope, RequestLine, float], None]


class RequestLog:
    """ASGI app around the whole server: takes a sane X-Request-Id or makes one, logs one line.

    Requests under /v1/, and other servers', get the server's own `send`, unwrapped: a wrapper costs
    a hop per streamed chunk. Their handler sets the line's status and the answer's X-Request-Id
    header itself.
    """

    def __init__(self, app: App, traces: Traces | None = None, ended: Ended | None = None) -> None:
        """`ended` hears of each request that has: its scope, its line, and when it began."""
        self.app = app
        self.traces = traces
        self._ended = ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        line = scope[LINE] = RequestLine(request_id_of(scope["headers"]), self.traces)
        began = time.monotonic()
        is_api = scope["path"].startswith(_UNWRAPPED)
        try:
            await self.app(scope, receive, send if is_api else partial(_send_noted, scope, send))
        except Exception:
            line.status = line.status or 500
            logging.getLogger("fjord").exception("request %s failed", line.request_id)
            raise
        finally:
            _log_request(scope, line, time.monotonic() - began)
            if self._ended is not None:
                self._ended(scope, line, began)
            if line.traces is not None and not _is_probe(scope, line):
                line.traces.ended(traced_request(scope, line, began))


def request_id_of(headers: list[tuple[bytes, bytes]]) -> str:
    """The client's X-Request-Id if it is short and plain, else a new one."""
    for name, value in headers:
        if name == b"x-request-id" and _SANE_ID.fullmatch(value):
            return value.decode()
    return "req_" + new_id(24)


async def _send_noted(scope: Scope, send: Send, message: Message) -> None:
    if message["type"] == "http.response.start":
        line_of(scope).status = message["status"]
        present = {name.lower() for name, _ in message["headers"]}
        owed = [header for header in answer_headers(scope) if header[0] not in present]
        message["headers"] = [*message["headers"], *owed]
    await send(message)


def answer_headers(scope: Scope) -> list[tuple[bytes, bytes]]:
    """What every answer to this request carries."""
    return [
        (b"x-request-id", line_of(scope).request_id.encode()),
        *scope.get(ANSWER_HEADERS, ()),
    ]


def _is_probe(scope: Scope, line: RequestLine) -> bool:
    return scope["path"] in _PROBES and line.status < 500


def _log_request(scope: Scope, line: RequestLine, duration_s: float) -> None:
    level = logging.DEBUG if _is_probe(scope, line) else logging.INFO
    if not log.isEnabledFor(level):
        return
    facts = {
        "request_id": line.request_id,
        "method": scope["method"],
        "path": _shown(scope["path"]),
        "status": line.status,
        "duration_ms": round(duration_s * 1000, 1),
        **line.facts,
    }
    log.handle(_RequestRecord(level, facts))


def _shown(path: str) -> str:
    return f"{_LINKS}…" if path.startswith(_LINKS) else path


def traced_request(scope: Scope, line: RequestLine, began: float) -> TracedRequest:
    """What its trace says of the exchange. Headers but for the trace's own stay here."""
    route = getattr(scope.get("route"), "path_format", "")
    traceparent, tracestate = line.caller or _trace_headers(scope)
    return TracedRequest(
        request_id=line.request_id,
        method=scope["method"],
        scheme=scope["scheme"],
        version=scope["http_version"],
        route=line.route or route.replace(":path}", "}"),
        status=0 if line.status == _LEFT else line.status,
        code=line.code,
        traceparent=traceparent,
        tracestate=tracestate,
        began=began,
        ended=time.monotonic(),
        ended_at_ns=time.time_ns(),
        work=line.work,
        place=line.place,
    )


def trace_context(scope: Scope) -> tuple[str, str]:
    """The traceparent and tracestate for what another server does of this request; "": nobody
    traces it."""
    line: RequestLine | None = scope.get(LINE)
    traceparent, tracestate = _trace_headers(scope)
    if line is not None and line.traces is not None:
        line.place = line.place or line.traces.place(traceparent, tracestate)
        return line.place.traceparent, line.place.tracestate
    said = b"".join(traceparent), b",".join(tracestate)
    if len(traceparent) != 1 or max(map(len, said)) > MOST_CONTEXT_BYTES:
        return "", ""
    return said[0].decode("latin-1"), said[1].decode("latin-1")


def _trace_headers(scope: Scope) -> TraceHeaders:
    headers = scope["headers"]
    return (
        [value for name, value in headers if name == b"traceparent"],
        [value for name, value in headers if name == b"tracestate"],
    )


_TEMPLATE = vars(logging.LogRecord(log.name, logging.INFO, __file__, 0, "request", (), None))


class _RequestRecord(logging.LogRecord):
    """The record of a request's line, by hand: `log.log` walks the stack for the caller's line,
    vLLM has every record made by a factory of its own, and the base class asks for process, thread
    and file each time, at nearly half of what a line cost the event loop."""

    def __init__(self, level: int, facts: dict[str, Any]) -> None:
        created = time.time()
        self.__dict__.update(
            _TEMPLATE,
            created=created,
            msecs=created % 1 * 1000,
            levelno=level,
            levelname=logging.getLevelName(level),
            facts=facts,
        )
