"""Tokens/s of the llama.cpp engine and of the whole server beside llama.cpp's own HTTP server: same
weights, threads, context and requests, alternating in one run. And what the server's event loop
takes of it: CPU µs a token of its thread; the others compute, or wait for those that do.

    python -m benchmarks.laptop [--rounds 3] [--tokens 96] [--json benchmarks/results/laptop.json]
"""

import argparse
import asyncio
import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import psutil

from engines.base import GenerateRequest, Sampling
from engines.llamacpp.engine import LlamacppEngine
from engines.registry.spec import EngineSpec
from engines.weights.packaged_model import gguf_path
from server.cli.chat.own_server import own_server

STREAMS = (1, 8, 32)
ARGS = {"n_ctx": 8192, "n_parallel": 32}
PEER = """
import sys, time, xllamacpp
p = xllamacpp.CommonParams()
p.model.path, p.port, p.hostnames = sys.argv[1], 0, ["127.0.0.1"]
p.n_ctx, p.n_parallel, p.kv_unified, p.n_batch = 8192, 32, True, 512
p.cache_ram_mib, p.warmup, p.verbosity = 0, False, 1
server = xllamacpp.Server(p)
print(server.listening_address, flush=True)
sys.stdin.read()
"""
Ask: TypeAlias = Callable[[int, int], Awaitable[int]]
"""Number of the stream, tokens wanted -> tokens got."""


def messages(stream: int) -> list[dict[str, str]]:
    return [{"role": "user", "content": f"Tell me story number {stream} about the sea."}]


async def over_http(url: str, model: str, stream: int, tokens: int) -> int:
    """One streamed chat answer over a bare socket, so that the client costs little."""
    body = json.dumps(
        {
            "model": model,
            "messages": messages(stream),
            "max_tokens": tokens,
            "temperature": 0.7,
            "seed": stream,
            "ignore_eos": True,
            "stream": True,
            "stream_options": {"include_usage": True},
            "top_k": 0,
            "min_p": 0.0,
            "cache_prompt": False,
        }
    ).encode()
    where = urlsplit(url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {where.netloc}\r\nConnection: close\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    usage = b""
    async for line in reader:
        if b'"completion_tokens"' in line:
            usage = line
    writer.close()
    if not usage:
        raise SystemExit(f"{url} gave no usage: is model {model} there?")
    said: int = json.loads(usage[usage.index(b"{") :])["usage"]["completion_tokens"]
    return said


def in_process(engine: LlamacppEngine) -> Ask:
    async def ask(stream: int, tokens: int) -> int:
        sampling = Sampling(max_tokens=tokens, temperature=0.7, seed=stream, ignore_eos=True)
        request = GenerateRequest(
            request_id=f"{stream}-{time.monotonic_ns()}",
            messages=messages(stream),
            sampling=sampling,
        )
        prompt = await engine.render(request)
        return sum([d.token_count async for d in engine.generate(request, prompt)])

    return ask


async def tokens_per_s(ask: Ask, streams: int, tokens: int) -> float:
    began = time.perf_counter()
    got = await asyncio.gather(*(ask(i, tokens) for i in range(streams)))
    assert sum(got) == streams * tokens, got
    return sum(got) / (time.perf_counter() - began)


@contextlib.contextmanager
def peer(path: Path) -> Iterator[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", PEER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().decode().strip()
    finally:
        process.terminate()
        process.wait()


@contextlib.asynccontextmanager
async def started(path: Path, notes: dict[str, Any]) -> AsyncIterator[LlamacppEngine]:
    spec = EngineSpec(kind="llamacpp", source=str(path), args=ARGS)
    engine = LlamacppEngine(spec, path)
    began = time.perf_counter()
    await engine.start()
    notes["engine_start_s"] = round(time.perf_counter() - began, 2)
    yield engine
    await engine.stop()


async def measure(
    ways: dict[str, Ask], rounds: int, tokens: int, loop_s: Callable[[], float]
) -> tuple[dict[str, dict[int, float]], dict[int, float]]:
    """Medians of tokens/s, and the event loop's µs a token of Fjord; the order turns each round, so
    that nobody always runs first."""
    seen: dict[tuple[str, int], list[float]] = {}
    spent_s = dict.fromkeys(STREAMS, 0.0)
    for ask in ways.values():
        await tokens_per_s(ask, 2, 8)
    for turn in range(rounds):
        for streams in STREAMS:
            names = list(ways)[turn % len(ways) :] + list(ways)[: turn % len(ways)]
            for name in names:
                before_s = loop_s()
                rate = await tokens_per_s(ways[name], streams, tokens)
                seen.setdefault((name, streams), []).append(rate)
                if name == "fjord":
                    spent_s[streams] += loop_s() - before_s
    rates = {n: {s: round(statistics.median(seen[n, s]), 1) for s in STREAMS} for n in ways}
    return rates, {s: round(1e6 * spent_s[s] / (rounds * s * tokens), 1) for s in STREAMS}


def imports_s(module: str) -> float:
    """A fresh interpreter's time for one import, the interpreter's own start left out."""
    code = f"import time; t = time.perf_counter(); import {module}; print(time.perf_counter() - t)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    return round(float(said.stdout), 3)


async def run(options: argparse.Namespace) -> dict[str, Any]:
    path = gguf_path()
    notes: dict[str, Any] = {"import_engine_s": imports_s("engines.llamacpp.engine")}
    notes["import_xllamacpp_s"] = imports_s("xllamacpp")
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        url = stack.enter_context(peer(path))
        ways: dict[str, Ask] = {"peer": lambda i, n: over_http(url, "smollm2", i, n)}
        began = time.perf_counter()
        flags = ["--model", f"smollm2={path}", "--data-dir", folder, "--log-level", "error"]
        flags += [f for k, v in ARGS.items() for f in ("--engine-arg", f"{k}={v}")]
        ours = stack.enter_context(own_server(flags))
        notes["server_ready_s"] = round(time.perf_counter() - began, 2)
        ways["fjord"] = lambda i, n: over_http(ours, "smollm2", i, n)
        async with started(path, notes) as engine:
            ways["engine"] = in_process(engine)
            server = _listener(ours)
            rates, loop_us = await measure(
                ways, options.rounds, options.tokens, lambda: _loop_s(server)
            )
            notes["loop_us_per_token"] = loop_us
            notes["server_rss_mb"] = round(_rss(server) / 2**20, 1)
    return {"machine": _machine(), "tokens_per_s": rates, "load": os.getloadavg()} | notes


def _listener(url: str) -> psutil.Process:
    port = urlsplit(url).port
    for process in psutil.Process().children(recursive=True):
        if any(c.laddr.port == port for c in process.net_connections() if c.status == "LISTEN"):
            return process
    raise SystemExit(f"no process of ours listens on {url}")


def _rss(process: psutil.Process) -> int:
    """Bytes of the server and its engines' processes."""
    return sum(p.memory_info().rss for p in (process, *process.children(recursive=True)))


def _loop_s(process: psutil.Process) -> float:
    """CPU seconds of the main thread, where the event loop runs."""
    [main] = [thread for thread in process.threads() if thread.id == process.pid]
    return float(main.user_time + main.system_time)


def _machine() -> str:
    return f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=96)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = asyncio.run(run(options))
    print(f"{'streams':>8} " + " ".join(f"{n:>8}" for n in found["tokens_per_s"]))
    for streams in STREAMS:
        rates = [r[streams] for r in found["tokens_per_s"].values()]
        print(f"{streams:>8} " + " ".join(f"{rate:8.1f}" for rate in rates))
    print({k: v for k, v in found.items() if k != "tokens_per_s"})
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
