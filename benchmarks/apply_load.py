"""`fjord apply` under load: whether a change of the registry costs anybody a request.

python -m benchmarks.apply_load [--minutes 3] [--vllm] [--json benchmarks/results/apply-load.json]

A real `fjord serve` with scripted engines and one on llama.cpp (`--vllm`: one on vLLM, too), asked
by clients without a pause, half of the answers streamed. Meanwhile the registry is written anew and
applied, one change a time: price, limits, another name, an engine's arguments, replicas, a model
that comes or goes. What goes is asked for until just before. It fails where a request is not
answered whole, an apply does other than it was written, or an answer's amount is of a price that
did not hold when it began.
"""

import argparse
import asyncio
import json
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from benchmarks.applied_registry import GUEST, NAME, AppliedRegistry, scripted
from benchmarks.fleet_crowd import Ended, Improper, asked
from benchmarks.fleet_site import ServedSite, difference
from benchmarks.machine import surroundings
from benchmarks.tiny_gguf import make_gguf
from engines.testing.tiny import make_llama
from engines.weights.packaged_model import gguf_path

CLIENTS = 8
PATIENCE_S = 300.0
MOST_TOKENS = 64
GOES = (GUEST, NAME)
"""Asked for by streams alone: when their first token is there, the server has taken them in."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, and the time from when it was sent to when its answer began."""

    ended: Ended
    sent: float
    begun: float


class Prices:
    """Of one token of `plain`'s answers, and from when to when each may have held."""

    def __init__(self, first: int) -> None:
        self._held: list[tuple[int, float, float]] = [(first, 0.0, float("inf"))]

    def changed(self, price: int, began: float, ended: float) -> None:
        """By an apply that began and ended then."""
        before, since, _ = self._held[-1]
        self._held[-1] = (before, since, ended)
        self._held.append((price, began, float("inf")))

    def possible(self, each: Asked) -> set[int]:
        return {p for p, since, to in self._held if since <= each.begun and to >= each.sent}


class Clients:
    """Each has one request at a time, of a name that may be asked for then."""

    def __init__(self, site: ServedSite, names: set[str], drawn: random.Random) -> None:
        self._url = f"http://127.0.0.1:{site.port}/v1/chat/completions"
        self._headers = {"X-API-Key": site.key}
        self._drawn = drawn
        self.names = names
        self._coming: Counter[str] = Counter()
        """Sent, and their answers have not begun."""
        self.done: list[Asked] = []
        self.wrong: list[str] = []

    async def run(self, goes_on: Callable[[], bool]) -> None:
        client = httpx.AsyncClient(headers=self._headers, timeout=PATIENCE_S)
        async with client, asyncio.TaskGroup() as tasks:
            for _ in range(CLIENTS):
                tasks.create_task(self._ask(client, goes_on))

    async def given_up(self, gone: set[str]) -> None:
        """Nobody asks for these any more, and the server has all requests for them."""
        self.names = self.names - gone
        while any(self._coming[name] for name in gone):  # noqa: ASYNC110 - ends in milliseconds
            await asyncio.sleep(0.002)

    async def _ask(self, client: httpx.AsyncClient, goes_on: Callable[[], bool]) -> None:
        while goes_on():
            name = self._drawn.choice(sorted(self.names))
            try:
                each = await self._answered(client, name)
            except (httpx.HTTPError, Improper) as error:
                self.wrong.append(f"{name}: {type(error).__name__} {error}"[:300])
                continue
            self.done.append(each)
            if each.ended.end != "done":
                self.wrong.append(f"{name}: {each.ended.end}")

    async def _answered(self, client: httpx.AsyncClient, name: str) -> Asked:
        sent, begun = time.monotonic(), list[float]()
        self._coming[name] += 1

        def begins() -> None:
            begun.append(time.monotonic())
            self._coming[name] -= 1

        try:
            ended = await asked(client, self._url, self._body(name), begins)
        finally:
            if not begun:
                begins()
        return Asked(ended, sent, begun[0])

    def _body(self, name: str) -> dict[str, Any]:
        body = {
            "model": name,
            "messages": [{"role": "user", "content": f"Say {self._drawn.random()}"}],
            "max_tokens": self._drawn.randint(1, MOST_TOKENS),
            "ignore_eos": True,
        }
        if name in GOES or self._drawn.random() < 0.5:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        return body


class Operator:
    """Writes the registry anew and applies it, again and again."""

    def __init__(
        self, site: ServedSite, registry: AppliedRegistry, clients: Clients, drawn: random.Random
    ) -> None:
        self._site, self._registry, self._clients, self._drawn = site, registry, clients, drawn
        self.prices = Prices(registry.output_price)
        self.applied: Counter[str] = Counter()
        self.wrong: list[str] = []

    async def run(self, goes_on: Callable[[], bool], pause_s: float) -> None:
        while goes_on():
            kind = self._registry.change(self._drawn)
            await self._clients.given_up(self._clients.names - self._registry.names)
            began = time.monotonic()
            self._site.registry.write_text(self._registry.text)
            said = await asyncio.to_thread(self._site.told, "apply")
            if kind == "price":
                self.prices.changed(self._registry.output_price, began, time.monotonic())
            self._clients.names = self._registry.names
            self.applied[kind] += 1
            if SAID[kind] not in said or len(said.splitlines()) != 1:
                self.wrong.append(f"{kind}: apply says {said!r}")
            await asyncio.sleep(pause_s)


SAID = {
    "price": "plain: changed (price)",
    "limits": "plain: changed (output_tokens)",
    "name": "plain: changed (also_known_as)",
    "arguments": ": restarted (engine)",
    "replicas": "many: changed (replicas)",
    "added": "guest: added",
    "removed": "guest: removed",
}


def run(
    seconds: float, seed: int, folder: Path, registry: AppliedRegistry, pause_s: float
) -> dict[str, Any]:
    """One run on a server of its own; blocks until that has ended."""
    site, drawn = ServedSite(folder, registry.text), random.Random(seed)
    with site.serving():
        clients = Clients(site, registry.names, drawn)
        operator = Operator(site, registry, clients, drawn)
        took_s = asyncio.run(_load(seconds, clients, operator, pause_s))
    wrong = [*clients.wrong, *operator.wrong]
    wrong += misbilled(clients.done, site.records(), operator.prices)
    return {
        "seconds": round(took_s, 1),
        "requests": len(clients.done),
        "failed": sum(each.ended.end != "done" for each in clients.done),
        "streamed": sum(each.ended.pieces > 1 for each in clients.done),
        "longest_wait_s": round(max(each.ended.wait_s for each in clients.done), 2),
        "applies": sum(operator.applied.values()),
        "applied": dict(operator.applied),
        "wrong": wrong,
    }


async def _load(seconds: float, clients: Clients, operator: Operator, pause_s: float) -> float:
    began = time.monotonic()

    def goes_on() -> bool:
        return time.monotonic() - began < seconds

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(clients.run(goes_on))
        tasks.create_task(operator.run(goes_on, pause_s))
    return time.monotonic() - began


def misbilled(
    done: Sequence[Asked], records: dict[str, dict[str, Any]], prices: Prices
) -> list[str]:
    """Where the ledger does not say what the clients saw, at a price that held."""
    found = []
    for each in done:
        record = records.get(each.ended.request_id)
        if text := difference(each.ended, record):
            found.append(text)
        elif record and each.ended.alias in ("plain", NAME):
            asked, answered = record["prompt_tokens"], record["completion_tokens"]
            amounts = {asked + price * answered for price in prices.possible(each)}
            if record["amount"] not in amounts:
                found.append(f"{each.ended.request_id}: {record['amount']}, not of {amounts}")
    return found


def registry_of(folder: Path, *, has_vllm: bool) -> AppliedRegistry:
    """With engines that are started anew for another argument."""
    limits = {"context": "1K", "output": 512}
    gguf = make_gguf(gguf_path(), folder / "tiny.gguf")
    llamacpp = {"source": str(gguf), "engine": "llamacpp", "args": {"n_parallel": 4}, **limits}
    restarted = {"llamacpp": (llamacpp, "n_parallel", (4, 6))}
    if has_vllm:
        args = {"dtype": "float32", "enforce_eager": True, "kv_cache_memory_bytes": 2**28}
        source = str(make_llama(folder / "tiny"))
        vllm = {"source": source, "engine": "vllm", "args": {**args, "max_num_seqs": 8}, **limits}
        restarted["vllm"] = (vllm, "max_num_seqs", (8, 16))
    return AppliedRegistry(restarted)


def scripted_registry() -> AppliedRegistry:
    return AppliedRegistry({"slow": (scripted("four"), "token_delay_s", (0.004, 0.002))})


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--vllm", action="store_true", help="one engine on vLLM, too")
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/apply-load.json"))
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the server goes with us
    with tempfile.TemporaryDirectory(prefix="apply-load-") as folder:
        registry = registry_of(Path(folder), has_vllm=given.vllm)
        result = run(given.minutes * 60, given.seed, Path(folder), registry, pause_s=1.0)
    given.json.write_text(json.dumps({**surroundings(), **result}, indent=2) + "\n")
    print(json.dumps(result, indent=2))
    sys.exit(1 if result["wrong"] else 0)


if __name__ == "__main__":
    main()
