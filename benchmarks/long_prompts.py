"""What long prompts that keep arriving do to running streams: the gaps between tokens of 64 streams
without them and beside them, in turn, on one server.

    python -m benchmarks.long_prompts [--engine vllm,llamacpp] [--tokens 4096,32768] [--rounds 3]
        [--seconds 15] [--streams 64] [--json FILE]

The prompts arrive at fixed times, two a second, however long those before them take: a machine that
cannot read so many has them wait, and the streams go on. What is not answered when the time is over
is cut off by its client. No two prompts begin alike. FILE keeps each engine's last run.
"""

import argparse
import asyncio
import json
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx

from benchmarks.figures import percentile
from benchmarks.gap_server import STREAMS, Sizes, serving
from benchmarks.gap_watch import GapWatch
from benchmarks.hostile_body import ALIAS
from benchmarks.machine import surroundings
from benchmarks.models import make_prompt

ENGINES = {
    "vllm": Sizes("40K", model="tiny-40k"),
    "llamacpp": Sizes("40K", cells=131_072),
}
A_SECOND = 2.0
BOUND = 1.2
BEGIN_S, REST_S = 3.0, 2.0
ANSWER_TOKENS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """What the streams had in a span of time, in ms, and the long prompts in it, in seconds."""

    itl_p50_ms: float
    itl_p99_ms: float
    itl_max_ms: float
    chunks_per_s: float
    sent: int = 0
    answers_s: Sequence[float] = ()
    refused: Sequence[str] = ()


@dataclass(slots=True)
class Arrivals:
    """What became of long prompts."""

    sent: int = 0
    answers_s: list[float] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A server with its streams."""

    port: int
    headers: Mapping[str, str]
    watch: GapWatch
    seconds: float

    def without(self) -> Span:
        began = time.monotonic()
        time.sleep(self.seconds)
        return self._span(began, Arrivals())

    def beside(self, prompts: Sequence[str]) -> Span:
        began = time.monotonic()
        span = self._span(began, asyncio.run(arriving(self.port, self.headers, prompts)))
        time.sleep(REST_S)  # those that were cut off have left the engine
        return span

    def _span(self, began: float, arrived: Arrivals) -> Span:
        ended = time.monotonic()
        gaps = self.watch.gaps_s(began, ended)
        return Span(
            itl_p50_ms=round(1e3 * percentile(gaps, 50), 2),
            itl_p99_ms=round(1e3 * percentile(gaps, 99), 2),
            itl_max_ms=round(1e3 * max(gaps, default=0.0), 2),
            chunks_per_s=round(len(gaps) / (ended - began), 1),
            sent=arrived.sent,
            answers_s=tuple(round(each, 3) for each in arrived.answers_s),
            refused=tuple(arrived.refused[:3]),
        )


async def arriving(port: int, headers: Mapping[str, str], prompts: Sequence[str]) -> Arrivals:
    """Each at its time; the last has as long as the others before it is cut off."""
    arrived, url = Arrivals(), f"http://127.0.0.1:{port}/v1/chat/completions"
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(headers=headers, timeout=None, limits=limits) as client:
        asked, began = [], time.monotonic()
        for number, prompt in enumerate(prompts, 1):
            asked.append(asyncio.create_task(_ask(client, url, prompt, arrived)))
            await asyncio.sleep(began + number / A_SECOND - time.monotonic())
        for each in asked:
            each.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
    return arrived


async def _ask(client: httpx.AsyncClient, url: str, prompt: str, arrived: Arrivals) -> None:
    messages = [{"role": "user", "content": prompt}]
    body = {"model": ALIAS, "messages": messages, "max_tokens": ANSWER_TOKENS, "ignore_eos": True}
    began = time.monotonic()
    arrived.sent += 1
    answer = await client.post(url, json=body)
    if answer.status_code == httpx.codes.OK:
        arrived.answers_s.append(time.monotonic() - began)
    else:
        arrived.refused.append(f"{answer.status_code} {answer.text[:200]}")


@contextmanager
def site(engine: str, streams: int, seconds: float) -> Iterator[Site]:
    with tempfile.TemporaryDirectory(prefix="long-prompts-") as name:
        folder = Path(name)
        served = serving(engine, folder, streams, sizes=ENGINES[engine], least_s=0.0)
        with served as (port, headers):
            time.sleep(BEGIN_S)
            yield Site(port=port, headers=headers, watch=GapWatch(folder), seconds=seconds)


def prompts_of(tokens: int, number: int, seconds: float) -> list[str]:
    """Of round `number`."""
    count = max(1, round(seconds * A_SECOND))
    return [make_prompt(tokens + 1000 * number + each, tokens) for each in range(count)]


def measured(
    engine: str, lengths: Sequence[int], rounds: int, streams: int, seconds: float
) -> dict[str, Any]:
    """By the prompts' length; every second round goes backwards."""
    seen: dict[int, list[tuple[Span, Span]]] = {tokens: [] for tokens in lengths}
    with site(engine, streams, seconds) as here:
        for number in range(1, rounds + 1):
            for tokens in lengths if number % 2 else reversed(lengths):
                prompts = prompts_of(tokens, number, seconds)
                if number % 2:
                    without, beside = here.without(), here.beside(prompts)
                else:
                    beside, without = here.beside(prompts), here.without()
                seen[tokens].append((without, beside))
                print(f"{engine}, {tokens}, round {number}: {without} / {beside}", flush=True)
    return {str(tokens): summary(pairs) for tokens, pairs in seen.items()}


def summary(pairs: Sequence[tuple[Span, Span]]) -> dict[str, Any]:
    """Medians over the rounds, and their ratio."""
    without, beside = (
        {
            name: statistics.median(getattr(pair[which], name) for pair in pairs)
            for name in ("itl_p50_ms", "itl_p99_ms", "itl_max_ms", "chunks_per_s")
        }
        for which in (0, 1)
    )
    ratio = beside["itl_p99_ms"] / max(1e-9, without["itl_p99_ms"])
    answers = [each for _, span in pairs for each in span.answers_s]
    return {
        "without": without,
        "beside": beside,
        "itl_p99_ratio": round(ratio, 3),
        "bound": BOUND,
        "reached": ratio <= BOUND,
        "sent": sum(span.sent for _, span in pairs),
        "answered": len(answers),
        "answer_p50_s": round(percentile(answers, 50), 3),
        "rounds": [[asdict(span) for span in pair] for pair in pairs],
    }


def keep(file: Path, engine: str, streams: int, found: dict[str, Any]) -> None:
    """Beside the other engine's figures that the file has."""
    engines = json.loads(file.read_text())["engines"] if file.exists() else {}
    document = {**surroundings(), "streams": streams, "prompts_per_s": A_SECOND}
    document["engines"] = engines | {engine: found}
    file.write_text(json.dumps(document, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--engine", default=",".join(ENGINES))
    parser.add_argument("--tokens", default="4096,32768")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--streams", type=int, default=STREAMS)
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/long-prompts.json"))
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the server goes with us
    lengths = [int(each) for each in given.tokens.split(",")]
    for engine in given.engine.split(","):
        found = measured(engine, lengths, given.rounds, given.streams, given.seconds)
        keep(given.json, engine, given.streams, found)
        for tokens, row in found.items():
            said = {name: row[name] for name in row if name != "rounds"}
            print(f"{engine}, {tokens}: {json.dumps(said)}", flush=True)


if __name__ == "__main__":
    main()
