"""The request id, and one structured line a request; knows nothing of what a request means."""

import logging
import re
import time
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager, suppress
from logging.handlers import QueueHandler, QueueListener
from queue import Empty, SimpleQueue
from typing import Any, TextIO, TypeAlias

import msgspec

from server.ids import new_id

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

LINE = "fjord.line"
"""The scope's key of this request's RequestLine."""

_SANE_ID = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
_PROBES = frozenset({"/health", "/ready", "/metrics"})
_API_PREFIX = "/v1/"
_GATHER_S = 0.05
_MOST_LINES = 500

log = logging.getLogger("fjord.request")


class RequestLine:
    """What one request's log line says. The handler notes what it knows; nobody else writes."""

    __slots__ = ("facts", "request_id", "status")

    def __init__(self, request_id: str) -> None:
        self.request_id = request_id
        self.status = 0
        """0: nothing was answered, the client left first."""
        self.facts: dict[str, Any] = {}

    def note(self, **facts: Any) -> None:
        """Say more on the line: alias, key, tokens. Never content, never a secret."""
        self.facts.update(facts)


def line_of(scope: Scope) -> RequestLine:
    """The line of the request with this scope."""
    line: RequestLine = scope[LINE]
    return line


class RequestLog:
    """ASGI app around the whole server: takes a sane X-Request-Id or makes one, logs one line.

    Requests under /v1/ get the server's own `send`, unwrapped: a wrapper costs a hop per streamed
    chunk. Their handler sets the line's status and the answer's X-Request-Id header itself.
    """

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        line = scope[LINE] = RequestLine(request_id_of(scope["headers"]))
        began = time.perf_counter()
        is_api = scope["path"].startswith(_API_PREFIX)
        try:
            await self.app(scope, receive, send if is_api else _noting(line, send))
        except Exception:
            line.status = line.status or 500
            logging.getLogger("fjord").exception("request %s failed", line.request_id)
            raise
        finally:
            _emit(scope, line, time.perf_counter() - began)


def request_id_of(headers: list[tuple[bytes, bytes]]) -> str:
    """The client's X-Request-Id if it is short and plain, else a new one."""
    for name, value in headers:
        if name == b"x-request-id" and _SANE_ID.fullmatch(value):
            return value.decode()
    return "req_" + new_id(24)


def _noting(line: RequestLine, send: Send) -> Send:
    async def noting(message: Message) -> None:
        if message["type"] == "http.response.start":
            line.status = message["status"]
            has_id = any(name.lower() == b"x-request-id" for name, _ in message["headers"])
            if not has_id:
                header = (b"x-request-id", line.request_id.encode())
                message["headers"] = [*message["headers"], header]
        await send(message)

    return noting


def _emit(scope: Scope, line: RequestLine, duration_s: float) -> None:
    level = logging.DEBUG if scope["path"] in _PROBES and line.status < 500 else logging.INFO
    if not log.isEnabledFor(level):
        return
    facts = {
        "request_id": line.request_id,
        "method": scope["method"],
        "path": scope["path"],
        "status": line.status,
        "duration_ms": round(duration_s * 1000, 1),
        **line.facts,
    }
    log.handle(_LineRecord(level, facts))


_SAME = vars(logging.LogRecord(log.name, logging.INFO, __file__, 0, "request", (), None))


class _LineRecord(logging.LogRecord):
    """The record of a request's line, by hand: `log.log` walks the stack for the caller's line,
    vLLM has every record made by a factory of its own, and the base class asks for process, thread
    and file each time, at nearly half of what a line cost the event loop."""

    def __init__(self, level: int, facts: dict[str, Any]) -> None:
        created = time.time()
        self.__dict__.update(
            _SAME,
            created=created,
            msecs=created % 1 * 1000,
            levelno=level,
            levelname=logging.getLevelName(level),
            facts=facts,
        )


class JsonLines(logging.Formatter):
    """One JSON object a line: for machines."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": _utc(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "facts", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line, enc_hook=str).decode()


class ReadableLines(logging.Formatter):
    """One line for a person at a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        facts = getattr(record, "facts", None)
        said = _sentence(dict(facts)) if facts else record.getMessage()
        level = "" if record.levelno <= logging.INFO else f"{record.levelname.lower()}: "
        trace = "\n" + self.formatException(record.exc_info) if record.exc_info else ""
        return f"{clock}  {level}{said}{trace}"


def _sentence(facts: dict[str, Any]) -> str:
    head = f"{facts.pop('status')} {facts.pop('method')} {facts.pop('path')}"
    head += f"  {facts.pop('duration_ms')} ms"
    rest = "  ".join(f"{name}={_printable(value)}" for name, value in facts.items())
    return f"{_printable(head)}  {rest}"


def _printable(value: Any) -> str:
    """No control character of a client's path or user field may reach the terminal."""
    return "".join(c if c.isprintable() else "?" for c in str(value))


def _utc(seconds: float) -> str:
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{whole}.{int(seconds % 1 * 1000):03d}Z"


class _Raw(QueueHandler):
    """Hands records over as they are: they are formatted, and written, by the listener's thread."""

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        return record


class _Lines(logging.StreamHandler[TextIO]):
    """Writes at `flush`, all that came since the last: a write lets other threads in, and to take
    turns with them costs more than the line."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._waiting: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._waiting.append(self.format(record) + self.terminator)
            if len(self._waiting) >= _MOST_LINES:
                self.flush()
        except Exception:
            self.handleError(record)

    def flush(self) -> None:
        lines, self._waiting = "".join(self._waiting), []
        if lines:
            self.stream.write(lines)
        super().flush()


class _Batches(QueueListener):
    """Wakes up at most 20 times a second: to wake a thread for each line costs the event loop more
    (30 µs) than everything else about a line."""

    queue: SimpleQueue[Any]

    def __init__(self, queue: SimpleQueue[Any], writer: _Lines) -> None:
        super().__init__(queue, writer)
        self._writer = writer

    def dequeue(self, block: bool) -> Any:
        try:
            return self.queue.get_nowait()
        except Empty:
            self._write()
            time.sleep(_GATHER_S)  # what comes meanwhile wakes nobody
        return self.queue.get(block)

    def stop(self) -> None:
        super().stop()
        self._write()

    def _write(self) -> None:
        with suppress(OSError, ValueError):  # nobody reads any more
            self._writer.flush()


@contextmanager
def logging_to(stream: TextIO, level: str = "info") -> Iterator[None]:
    """Log to `stream` for the block's time, from a thread of its own: a reader of the log that
    stalls (a full pipe, a slow disk) must not stall the streams."""
    writer = _Lines(stream)
    writer.setFormatter(ReadableLines() if stream.isatty() else JsonLines())
    queue: SimpleQueue[logging.LogRecord] = SimpleQueue()
    listener = _Batches(queue, writer)
    ours, theirs = logging.getLogger("fjord"), logging.getLogger()
    handler = _Raw(queue)
    before = theirs.handlers[:], theirs.level, ours.level
    theirs.handlers[:] = [handler]
    theirs.setLevel(logging.WARNING)
    ours.setLevel(level.upper())
    listener.start()
    try:
        yield
    finally:
        listener.stop()
        theirs.handlers[:], theirs.level, ours.level = before
