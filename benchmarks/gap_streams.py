"""Streams that never end, in a process of its own: reads a Crowd as JSON from stdin, and writes a
line for every gap between two chunks that is over `least_s`: its end (time.monotonic) and its ms.
Beside it, in FILE.lateness, what its own loop is kept for (benchmarks/loop_probe.py)."""

import asyncio
import sys
import time
from collections.abc import Mapping
from functools import partial
from typing import Any, TextIO

import msgspec
import uvloop

from benchmarks.loop_probe import Probe


class Crowd(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks for what, again and again."""

    port: int
    headers: Mapping[str, str]
    streams: int
    body: str
    file: str
    """Where the gaps go."""
    least_s: float = 0.010
    """Of a gap that is written."""


class Stream(asyncio.Protocol):
    """One connection: its next request when the last has ended. A gap is inside one answer."""

    def __init__(self, raw: bytes, write: "Writer", least_s: float) -> None:
        self._raw = raw
        self._write, self._least_s = write, least_s
        self._stamp = 0.0

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._transport.write(self._raw)

    def data_received(self, data: bytes) -> None:
        now = time.monotonic()
        if data.startswith(b"HTTP/1.1") and not data.startswith(b"HTTP/1.1 200"):
            sys.exit(f"a stream was refused: {data[-300:]!r}")
        if self._stamp and now - self._stamp > self._least_s:
            self._write(now, now - self._stamp)
        self._stamp = now
        if data.endswith(b"0\r\n\r\n"):
            self._stamp = 0.0
            self._transport.write(self._raw)

    def connection_lost(self, exc: Exception | None) -> None:
        sys.exit(f"a stream was cut: {exc}")


class Writer:
    """One file of all streams."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._out = open(path, "a", buffering=1)  # noqa: SIM115 - to the process' end

    def beside(self, suffix: str) -> TextIO:
        return open(f"{self._path}.{suffix}", "a", buffering=1)

    def __call__(self, at: float, gap_s: float) -> None:
        self._out.write(f"{at:.6f} {1e3 * gap_s:.2f}\n")


async def _run(crowd: Crowd) -> None:
    raw = request("/v1/chat/completions", crowd.body.encode(), crowd.headers)
    write = Writer(crowd.file)
    loop = asyncio.get_running_loop()
    Probe(loop, write.beside("lateness"))
    make = partial(Stream, raw, write, crowd.least_s)
    for _ in range(crowd.streams):
        await loop.create_connection(make, "127.0.0.1", crowd.port)
    await loop.create_future()


def request(
    path: str, body: bytes, headers: Mapping[str, str], declared: int | None = None
) -> bytes:
    """A POST as it goes over the wire; `declared`: its Content-Length, where that is another."""
    lines = {
        "Host": "127.0.0.1",
        "Content-Type": "application/json",
        "Content-Length": str(len(body) if declared is None else declared),
        **headers,
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body


def main() -> None:
    crowd = msgspec.json.decode(sys.stdin.buffer.read(), type=Crowd)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(crowd))


if __name__ == "__main__":
    main()
