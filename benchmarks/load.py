"""The load generator, a process of its own: reads a Load as JSON from stdin, answers with figures.

Closed loop: every stream is one kept connection that sends its next request when the last one has
ended. It shares the machine with what it measures, so it parses as little as it can: it stamps what
arrives, counts `data: ` events, and takes the token counts from the final usage (merged chunks hide
tokens). About 5 µs a chunk.
"""

import asyncio
import re
import resource
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import uvloop

_USAGE = re.compile(rb'"completion_tokens": ?(\d+)')
_PROMPT = re.compile(rb'"prompt_tokens": ?(\d+)')
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_CONTENT = re.compile(rb'"content": ?"[^"]')
_END = b"0\r\n\r\n"


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What to send: `bodies` in order, at most `streams` at once."""

    host: str
    port: int
    path: str
    headers: Mapping[str, str]
    streams: int
    bodies: Sequence[str]
    limit_s: float = 120.0
    keys: Sequence[str] = ()
    """Each request comes with the next of them; none: `headers` has one."""


class Outcome(msgspec.Struct, kw_only=True):
    """What came back. Times in seconds; `gaps_s` between what arrived in turn, tokens merged or
    not; a request without its usage, or with another status than 200, is an error."""

    wall_s: float
    tokens: int
    prompt_tokens: int
    chunks: int
    ttft_s: list[float]
    gaps_s: list[float]
    total_s: list[float]
    errors: list[str]
    generator_cpu_s: float


class Stream(asyncio.Protocol):
    """One connection: sends, stamps, sends again."""

    def __init__(self, run: "Run") -> None:
        self._run = run
        self._transport: Any = None
        self._is_whole = False
        self._left = 0
        self._before = self._last = self._usage = b""
        self._is_waiting = True
        self._is_idle = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._is_idle:
            self._run.errors.append(f"connection lost: {exc or 'closed by the server'}")
        self._run.ended()

    def _next(self) -> None:
        raw = self._run.take()
        if raw is None:
            self._is_idle = True
            self._transport.close()
            return
        self._is_idle, self._is_waiting, self._is_whole, self._left = False, True, False, -1
        self._before = self._last = self._usage = b""
        self._sent = self._stamp = time.perf_counter()
        self._transport.write(raw)

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        if self._left == -1:
            self._begin(data)
        elif self._is_whole:
            self._left -= len(data)
        events = data.count(b"data: {")
        if events:
            self._run.chunks += events
            if not self._is_waiting:
                self._run.gaps_s.append(now - self._stamp)
                self._stamp = now
            elif _CONTENT.search(data):
                self._is_waiting = False
                self._run.ttft_s.append(now - self._sent)
                self._stamp = now
        if b'"completion_tokens"' in data:
            self._usage = data
        self._before, self._last = self._last, data
        if self._left <= 0 if self._is_whole else self._is_at_end(data):
            self._end(now)

    def _begin(self, data: bytes) -> None:
        head, _, body = data.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        self._is_whole = length is not None
        self._left = int(length[1]) - len(body) if length else 0
        if not head.startswith(b"HTTP/1.1 200"):
            self._run.errors.append(data[:600].decode(errors="replace"))

    def _is_at_end(self, data: bytes) -> bool:
        return data.endswith(_END) or (len(data) < 5 and (self._before + data).endswith(_END))

    def _end(self, now: float) -> None:
        tail = self._usage or self._before + self._last
        usage, prompt = _USAGE.search(tail), _PROMPT.search(tail)
        if usage is None or prompt is None:
            self._run.errors.append(f"no usage at the end: {tail[-300:]!r}")
        else:
            self._run.tokens += int(usage[1])
            self._run.prompt_tokens += int(prompt[1])
            self._run.total_s.append(now - self._sent)
        self._next()


class Run:
    """The requests that are left, and what was measured."""

    def __init__(self, load: Load) -> None:
        self._raw = [_request(load, body, i) for i, body in enumerate(load.bodies)]
        self._raw.reverse()
        self._load = load
        self._open = 0
        self._done = asyncio.Event()
        self.tokens = self.prompt_tokens = self.chunks = 0
        self.ttft_s: list[float] = []
        self.gaps_s: list[float] = []
        self.total_s: list[float] = []
        self.errors: list[str] = []

    def take(self) -> bytes | None:
        return self._raw.pop() if self._raw else None

    def ended(self) -> None:
        self._open -= 1
        if not self._open:
            self._done.set()

    async def measure(self) -> Outcome:
        loop = asyncio.get_running_loop()
        began, cpu = time.perf_counter(), _cpu_s()
        for _ in range(min(self._load.streams, len(self._raw))):
            self._open += 1
            await loop.create_connection(lambda: Stream(self), self._load.host, self._load.port)
        try:
            await asyncio.wait_for(self._done.wait(), self._load.limit_s)
        except TimeoutError:
            self.errors.append(f"not done after {self._load.limit_s:g} s")
        return Outcome(
            wall_s=time.perf_counter() - began,
            tokens=self.tokens,
            prompt_tokens=self.prompt_tokens,
            chunks=self.chunks,
            ttft_s=self.ttft_s,
            gaps_s=self.gaps_s,
            total_s=self.total_s,
            errors=self.errors,
            generator_cpu_s=_cpu_s() - cpu,
        )


def _request(load: Load, body: str, number: int) -> bytes:
    raw = body.encode()
    key = {"X-API-Key": load.keys[number % len(load.keys)]} if load.keys else {}
    headers = {
        "Host": f"{load.host}:{load.port}",
        "Content-Type": "application/json",
        "Content-Length": str(len(raw)),
        **load.headers,
        **key,
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST {load.path} HTTP/1.1\r\n{lines}\r\n".encode() + raw


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def _measure(load: Load) -> Outcome:
    return await Run(load).measure()


def main() -> None:
    load = msgspec.json.decode(sys.stdin.buffer.read(), type=Load)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        outcome = runner.run(_measure(load))
    # Not through sys.stdout: with PYTHONUNBUFFERED that forgets what a short write left over, and
    # beside uvloop's io_uring 3 of 100 large writes into a pipe are short.
    with open(sys.stdout.fileno(), "wb", closefd=False) as out:
        out.write(msgspec.json.encode(outcome))


if __name__ == "__main__":
    main()
