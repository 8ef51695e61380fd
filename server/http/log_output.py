"""Log records -> lines on a stream, formatted and written by a thread of its own, in batches."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from logging.handlers import QueueHandler, QueueListener
from queue import Empty, SimpleQueue
from typing import Any, TextIO

import msgspec

_BATCH_S = 0.05
_BATCH_LINES = 500


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
        text = _readable(dict(facts)) if facts else _indented(record.getMessage())
        level = "" if record.levelno <= logging.INFO else f"{record.levelname.lower()}: "
        trace = "\n" + self.formatException(record.exc_info) if record.exc_info else ""
        return f"{clock}  {level}{text}{trace}"


def _readable(facts: dict[str, Any]) -> str:
    head = f"{facts.pop('status')} {facts.pop('method')} {facts.pop('path')}"
    head += f"  {facts.pop('duration_ms')} ms"
    rest = "  ".join(f"{name}={_printable(value)}" for name, value in facts.items())
    return f"{_printable(head)}  {rest}"


def _printable(value: Any) -> str:
    """No control character of a client's path or user field may reach the terminal."""
    return "".join(c if c.isprintable() else "?" for c in str(value))


def _indented(message: str) -> str:
    """A client's word in a message begins no line of its own."""
    return "\n    ".join(_printable(line) for line in message.split("\n"))


def _utc(seconds: float) -> str:
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{whole}.{int(seconds % 1 * 1000):03d}Z"


class _UnformattedHandler(QueueHandler):
    """Hands records over as they are: they are formatted, and written, by the listener's thread."""

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        return record


class _BatchWriter(logging.StreamHandler[TextIO]):
    """Writes at `flush`, all that came since the last: a write lets other threads in, and to take
    turns with them costs more than the line."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._lines.append(self.format(record) + self.terminator)
            if len(self._lines) >= _BATCH_LINES:
                self.flush()
        except Exception:
            self.handleError(record)

    def flush(self) -> None:
        lines, self._lines = "".join(self._lines), []
        if lines:
            self.stream.write(lines)
        super().flush()


class _BatchListener(QueueListener):
    """Wakes up at most 20 times a second: to wake a thread for each line costs the event loop more
    (30 µs) than everything else about a line."""

    queue: SimpleQueue[Any]

    def __init__(self, queue: SimpleQueue[Any], writer: _BatchWriter) -> None:
        super().__init__(queue, writer)
        self._writer = writer

    def dequeue(self, block: bool) -> Any:
        try:
            return self.queue.get_nowait()
        except Empty:
            self._write()
            time.sleep(_BATCH_S)  # what comes meanwhile wakes nobody
        return self.queue.get(block)

    def stop(self) -> None:
        super().stop()
        self._write()

    def _write(self) -> None:
        with suppress(OSError, ValueError):  # nobody reads any more
            self._writer.flush()


@contextmanager
def logging_to(
    stream: TextIO, level: str = "info", *, as_json: bool | None = None
) -> Iterator[None]:
    """Log to `stream` for the block's time, from a thread of its own: a reader of the log that
    stalls (a full pipe, a slow disk) must not stall the streams. `as_json` None: where `stream` is
    no terminal."""
    writer = _BatchWriter(stream)
    is_json = not stream.isatty() if as_json is None else as_json
    writer.setFormatter(JsonLines() if is_json else ReadableLines())
    queue: SimpleQueue[logging.LogRecord] = SimpleQueue()
    listener = _BatchListener(queue, writer)
    ours, theirs = logging.getLogger("fjord"), logging.getLogger()
    handler = _UnformattedHandler(queue)
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
