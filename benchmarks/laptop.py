"""Tokens/s of the llama.cpp engine and of the whole server beside llama.cpp's own HTTP server: same
weights, threads, context and requests, alternating in one run. And what the server's event loop
takes of it: CPU µs a token of its thread; the others compute, or wait for those that do.

    python -m benchmarks.laptop [--rounds 3] [--tokens 96] [--streams 1 8 32] [--only WORD]
        [--json benchmarks/results/laptop.json]

Plain answers, with penalties, in a JSON schema, and with a prompt whose first 300 tokens all share.
"""

import argparse
import asyncio
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import psutil

from benchmarks.laptop_asks import CASES, PLAIN, Answer, Ask, Case, over_http
from benchmarks.machine import surroundings
from engines.base import GenerateRequest, Sampling
from engines.llamacpp.engine import LlamacppEngine
from engines.registry.spec import EngineSpec
from engines.weights.packaged_model import gguf_path
from server.cli.chat.own_server import own_server

ALIAS = "smollm2"
STREAMS = (1, 8, 32)
ARGS = {"n_ctx": 16_384, "n_parallel": 32}
PEER = """
import sys, xllamacpp
p = xllamacpp.CommonParams()
p.model.path, p.port, p.hostnames = sys.argv[1], 0, ["127.0.0.1"]
p.n_ctx, p.n_parallel, p.kv_unified, p.n_batch = int(sys.argv[2]), int(sys.argv[3]), True, 512
p.cache_ram_mib, p.warmup, p.verbosity = int(sys.argv[4]), False, 1
server = xllamacpp.Server(p)
print(server.listening_address, flush=True)
sys.stdin.read()
"""
LEAST_RATE = 1.0
"""Tokens/s over llama.cpp's own server."""
MOST_LOOP_US = {1: 156.0, 8: 74.0, 32: 53.5}
"""A token, by streams, of plain answers: half of what it was on 2026-11-22."""


def in_process(engine: LlamacppEngine) -> Ask:
    async def ask(case: Case, stream: int, tokens: int) -> Answer:
        sampling = Sampling(max_tokens=tokens, temperature=0.7, seed=stream, ignore_eos=True)
        request = GenerateRequest(
            request_id=f"{stream}-{time.monotonic_ns()}",
            messages=case.messages(stream),
            sampling=sampling,
        )
        prompt = await engine.render(request)
        got = sum([d.token_count async for d in engine.generate(request, prompt)])
        return Answer(tokens=got, first_s=0.0)

    return ask


async def asked(ask: Ask, case: Case, streams: int, tokens: int) -> tuple[float, list[Answer]]:
    """Tokens/s, and the answers."""
    began = time.perf_counter()
    got = await asyncio.gather(*(ask(case, i, tokens) for i in range(streams)))
    took_s, said = time.perf_counter() - began, sum(each.tokens for each in got)
    if said != streams * tokens:
        raise SystemExit(f"{case.name}: {[each.tokens for each in got]}, not {tokens} each")
    return said / took_s, got


@contextlib.contextmanager
def peer(path: Path, cells: int, slots: int, cache_mib: int = 0) -> Iterator[str]:
    """llama.cpp's own server: its URL. `cache_mib`: for old prompts, beside the cache."""
    command = [sys.executable, "-c", PEER, str(path), str(cells), str(slots), str(cache_mib)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
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


@dataclass(slots=True)
class Seen:
    """Of one case with so many streams, on one side."""

    rates: list[float] = field(default_factory=list)
    firsts_s: list[float] = field(default_factory=list)
    cached: int = 0
    loop_s: float = 0.0


Found: TypeAlias = dict[tuple[str, int, str], Seen]
"""By case, streams, side."""


async def measure(
    ways: dict[str, Ask],
    cases: Sequence[Case],
    streams: Sequence[int],
    rounds: int,
    tokens: int,
    loop_s: Callable[[], float],
) -> Found:
    """The order turns each round, so that nobody always runs first."""
    found: Found = {}
    for ask, case in product(ways.values(), cases):
        await asked(ask, case, 2, 8)
    for turn, case, count in product(range(rounds), cases, streams):
        names = [name for name in ways if name != ENGINE or case is PLAIN]
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            seen = found.setdefault((case.name, count, name), Seen())
            before_s = loop_s()
            rate, answers = await asked(ways[name], case, count, tokens)
            seen.rates.append(rate)
            seen.firsts_s += [each.first_s for each in answers]
            seen.cached += sum(each.cached for each in answers)
            seen.loop_s += loop_s() - before_s
    return found


PEER_SIDE, FJORD, ENGINE = "peer", "fjord", "engine"


def rows(found: Found, tokens: int) -> list[dict[str, Any]]:
    """One for each case and number of streams."""
    keys = dict.fromkeys((case, count) for case, count, _ in found)
    return [_row(found, case, count, tokens) for case, count in keys]


def _row(found: Found, case: str, count: int, tokens: int) -> dict[str, Any]:
    sides = {name: seen for (c, n, name), seen in found.items() if (c, n) == (case, count)}
    rates = {name: statistics.median(seen.rates) for name, seen in sides.items()}
    ours = sides[FJORD]
    ratio = rates[FJORD] / rates[PEER_SIDE]
    return {
        "case": case,
        "streams": count,
        "tokens_per_s": {name: round(rate, 1) for name, rate in rates.items()},
        "ttft_p50_ms": {n: round(1e3 * statistics.median(s.firsts_s), 1) for n, s in sides.items()},
        "cached_tokens": {name: seen.cached for name, seen in sides.items()},
        "ratio": round(ratio, 3),
        "reached": ratio >= LEAST_RATE,
        "loop_us_per_token": round(1e6 * ours.loop_s / (len(ours.rates) * count * tokens), 1),
    }


def loop_verdicts(found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of plain answers."""
    return [
        {"streams": count, "loop_us_per_token": us, "bound": bound, "reached": us <= bound}
        for count, bound in MOST_LOOP_US.items()
        for us in [r["loop_us_per_token"] for r in found if _is_plain(r, count)]
    ]


def _is_plain(row: dict[str, Any], count: int) -> bool:
    return (row["case"], row["streams"]) == (PLAIN.name, count)


def imports_s(module: str) -> float:
    """A fresh interpreter's time for one import, the interpreter's own start left out."""
    code = f"import time; t = time.perf_counter(); import {module}; print(time.perf_counter() - t)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    return round(float(said.stdout), 3)


async def run(options: argparse.Namespace) -> dict[str, Any]:
    path = gguf_path()
    notes: dict[str, Any] = {"import_engine_s": imports_s("engines.llamacpp.engine")}
    notes["import_xllamacpp_s"] = imports_s("xllamacpp")
    cases = [case for case in CASES if options.only in case.name]
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(peer(path, ARGS["n_ctx"], ARGS["n_parallel"]))
        ways: dict[str, Ask] = {
            PEER_SIDE: lambda c, i, n: over_http(url, ALIAS, c.peers_body(i), n)
        }
        began = time.perf_counter()
        ours = stack.enter_context(served(path, ARGS))
        notes["server_ready_s"] = round(time.perf_counter() - began, 2)
        ways[FJORD] = lambda c, i, n: over_http(ours, ALIAS, c.body(i), n)
        async with started(path, notes) as engine:
            ways[ENGINE] = in_process(engine)
            server = listener(ours)
            found = await measure(
                ways,
                cases,
                options.streams,
                options.rounds,
                options.tokens,
                partial(loop_s, server),
            )
            notes["server_rss_mb"] = round(_rss(server) / 2**20, 1)
    made = rows(found, options.tokens)
    return {**surroundings(), "rows": made, "loop": loop_verdicts(made), **notes}


@contextlib.contextmanager
def served(path: Path, args: Mapping[str, Any]) -> Iterator[str]:
    """Fjord's server of the same model: its URL."""
    with tempfile.TemporaryDirectory() as folder:
        flags = ["--model", f"{ALIAS}={path}", "--data-dir", folder, "--log-level", "error"]
        flags += [f for k, v in args.items() for f in ("--engine-arg", f"{k}={v}")]
        with own_server(flags) as url:
            yield url


def listener(url: str) -> psutil.Process:
    port = urlsplit(url).port
    for process in psutil.Process().children(recursive=True):
        if any(c.laddr.port == port for c in process.net_connections() if c.status == "LISTEN"):
            return process
    raise SystemExit(f"no process of ours listens on {url}")


def _rss(process: psutil.Process) -> int:
    """Bytes of the server and its engines' processes."""
    return sum(p.memory_info().rss for p in (process, *process.children(recursive=True)))


def loop_s(process: psutil.Process) -> float:
    """CPU seconds of the main thread, where the event loop runs: by the scheduler's nanoseconds
    where it tells them, else in steps of 10 ms."""
    told = Path(f"/proc/{process.pid}/task/{process.pid}/schedstat")
    if told.exists():
        return int(told.read_text().split()[0]) / 1e9
    [main] = [thread for thread in process.threads() if thread.id == process.pid]
    return float(main.user_time + main.system_time)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=96)
    parser.add_argument("--streams", type=int, nargs="*", default=STREAMS)
    parser.add_argument("--only", default="", help="cases whose names hold this")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = asyncio.run(run(options))
    for row in found["rows"]:
        print(json.dumps(row))
    print(json.dumps({name: found[name] for name in found if name != "rows"}))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
