"""Whether the second turn of a chat of 2,000 tokens is answered from the cache: time to its first
text beside llama.cpp's own server, as that ships (8 GiB for old prompts), in turn.

    python -m benchmarks.laptop_turns [--rounds 3] [--streams 1 8] [--tokens 2000]
        [--json benchmarks/results/laptop-turns.json]
"""

import argparse
import asyncio
import contextlib
import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.laptop import ALIAS, FJORD, PEER_SIDE, peer, served
from benchmarks.laptop_asks import Answer, over_http
from benchmarks.machine import surroundings
from benchmarks.models import make_prompt
from engines.weights.packaged_model import gguf_path

MOST_RATIO = 1.1
OLD_PROMPTS_MIB = 8192
CELLS_A_STREAM = 4096
ANSWER_TOKENS = 32


@dataclass(slots=True)
class Seen:
    """Of so many chats, on one side."""

    first_s: list[float] = field(default_factory=list)
    second_s: list[float] = field(default_factory=list)
    cached: list[int] = field(default_factory=list)
    """Tokens of the second turn's prompt, as the answer says."""


async def chat(url: str, seed: int, tokens: int) -> tuple[Answer, Answer]:
    """Both turns of one chat."""
    messages = [{"role": "user", "content": make_prompt(seed, tokens)}]
    first = await turn(url, messages)
    messages += [{"role": "assistant", "content": first.text}]
    return first, await turn(url, [*messages, {"role": "user", "content": "And what came then?"}])


async def turn(url: str, messages: Sequence[Mapping[str, str]]) -> Answer:
    asked = {"messages": messages, "temperature": 0, "cache_prompt": True}
    return await over_http(url, ALIAS, asked, ANSWER_TOKENS, keeps_text=True)


async def measure(
    urls: Mapping[str, str], streams: Sequence[int], rounds: int, tokens: int
) -> dict[tuple[int, str], Seen]:
    """The order turns each round. All first turns of a crowd begin at once, and each second one
    when its first has ended."""
    found = {pair: Seen() for pair in product(streams, urls)}
    for url in urls.values():
        await turn(url, [{"role": "user", "content": "Good morning."}])
    for number, count in product(range(rounds), streams):
        for name in list(urls)[:: 1 if number % 2 == 0 else -1]:
            chats = [chat(urls[name], 1000 * number + 50 * count + i, tokens) for i in range(count)]
            seen = found[count, name]
            for first, second in await asyncio.gather(*chats):
                seen.first_s.append(first.first_s)
                seen.second_s.append(second.first_s)
                seen.cached.append(second.cached)
    return found


def rows(found: Mapping[tuple[int, str], Seen]) -> list[dict[str, Any]]:
    return [_row(count, found) for count in dict.fromkeys(count for count, _ in found)]


def _row(count: int, found: Mapping[tuple[int, str], Seen]) -> dict[str, Any]:
    sides = {name: seen for (n, name), seen in found.items() if n == count}
    second_ms = {name: _median_ms(seen.second_s) for name, seen in sides.items()}
    ratio = second_ms[FJORD] / second_ms[PEER_SIDE]
    return {
        "streams": count,
        "first_ttft_p50_ms": {name: _median_ms(seen.first_s) for name, seen in sides.items()},
        "second_ttft_p50_ms": second_ms,
        "cached_tokens_p50": {n: statistics.median(seen.cached) for n, seen in sides.items()},
        "ratio": round(ratio, 3),
        "bound": MOST_RATIO,
        "reached": ratio <= MOST_RATIO,
    }


def _median_ms(seconds: Sequence[float]) -> float:
    return round(1e3 * statistics.median(seconds), 1)


async def run(options: argparse.Namespace) -> dict[str, Any]:
    path, most = gguf_path(), max(options.streams)
    args = {"n_ctx": CELLS_A_STREAM * max(2, most), "n_parallel": max(2, most)}
    around = surroundings()
    with contextlib.ExitStack() as stack:
        theirs = peer(path, args["n_ctx"], args["n_parallel"], OLD_PROMPTS_MIB)
        urls = {PEER_SIDE: stack.enter_context(theirs)}
        urls[FJORD] = stack.enter_context(served(path, args))
        found = await measure(urls, options.streams, options.rounds, options.tokens)
    return {**around, "tokens": options.tokens, "rows": rows(found)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--streams", type=int, nargs="*", default=(1, 8))
    parser.add_argument("--tokens", type=int, default=2000)
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/laptop-turns.json"))
    options = parser.parse_args()
    found = asyncio.run(run(options))
    for row in found["rows"]:
        print(json.dumps(row))
    options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
