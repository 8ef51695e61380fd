"""What people who look at the console cost running streams: the gaps between tokens of 64 streams,
with nobody beside them and with watchers of the page of now, in turn.

python -m benchmarks.console_beside [--rounds 4] [--watchers 8] [--json FILE]

A watcher hears the events of now, and opens the pages of models, keys, usage and requests by turns,
one a second.
"""

import argparse
import json
import multiprocessing
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx

from benchmarks.bench import generate
from benchmarks.cases import WARM_UP, Case
from benchmarks.figures import percentile
from benchmarks.machine import surroundings
from benchmarks.models import make_model
from benchmarks.servers import FJORD, Server, serving

CASE = Case(streams=64, requests=384, output_tokens=128)
QUESTIONS = ("/models", "/keys", "/usage", "/requests", "/registry", "/nodes")
EVERY_S = 1.0


def watch(url: str, token: str, count: int, over: Any) -> None:
    """In a process of its own, until `over`."""
    threads = [
        threading.Thread(target=each, args=(url, token, over), daemon=True)
        for _ in range(count)
        for each in (_hear, _ask)
    ]
    for thread in threads:
        thread.start()
    over.wait()


def _hear(url: str, token: str, over: Any) -> None:
    headers = {"X-API-Key": token}
    while not over.is_set():
        with (
            suppress(httpx.HTTPError),
            httpx.stream("GET", f"{url}/now/events", headers=headers, timeout=30) as answer,
        ):
            for _ in answer.iter_lines():
                if over.is_set():
                    return


def _ask(url: str, token: str, over: Any) -> None:
    with httpx.Client(headers={"X-API-Key": token}, timeout=30) as client:
        number = 0
        while not over.wait(EVERY_S):
            number += 1
            with suppress(httpx.HTTPError):
                client.get(url + QUESTIONS[number % len(QUESTIONS)])


@contextmanager
def watched(server: Server, token: str, count: int) -> Iterator[None]:
    context = multiprocessing.get_context("spawn")
    over = context.Event()
    url = f"http://127.0.0.1:{server.port}/admin/v1"
    process = context.Process(target=watch, args=(url, token, count, over), daemon=True)
    if count:
        process.start()
        time.sleep(2 * EVERY_S)  # all hear by then; nothing is measured before
    try:
        yield
    finally:
        over.set()
        if count:
            process.join(10)
            process.kill()


def measured(server: Server, token: str, count: int, seed: int) -> dict[str, Any]:
    with watched(server, token, count):
        outcome = generate(server, CASE, seed=seed)
    return {
        "itl_p50_ms": round(1e3 * percentile(outcome.gaps_s, 50), 2),
        "itl_p99_ms": round(1e3 * percentile(outcome.gaps_s, 99), 2),
        "tokens_per_s": round(outcome.tokens / outcome.wall_s, 1),
        "errors": outcome.errors[:3],
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--watchers", type=int, default=8)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    about, rounds = surroundings(), []
    with tempfile.TemporaryDirectory(prefix="fjord-console-") as name:
        folder = Path(name)
        model = make_model("tiny", folder / "model")
        with serving(FJORD, model, folder / "server") as server:
            [token_file] = (folder / "server").glob("data-*/operator_token")
            token = token_file.read_text().strip()
            generate(server, WARM_UP, seed=0)
            for number in range(1, given.rounds + 1):
                order = (0, given.watchers) if number % 2 else (given.watchers, 0)
                found = {str(count): measured(server, token, count, number) for count in order}
                rounds.append(found)
                sys.stdout.write(json.dumps(found) + "\n")
    alone, beside = ([each[c] for each in rounds] for c in ("0", str(given.watchers)))
    ratios = {
        figure: round(_middle(beside, figure) / _middle(alone, figure), 3)
        for figure in ("itl_p50_ms", "itl_p99_ms", "tokens_per_s")
    }
    sys.stdout.write(json.dumps(ratios) + "\n")
    if given.json:
        result = {**about, "watchers": given.watchers, "ratios": ratios, "rounds": rounds}
        given.json.write_text(json.dumps(result, indent=2) + "\n")


def _middle(rounds: list[dict[str, Any]], figure: str) -> float:
    found: float = statistics.median(each[figure] for each in rounds)
    return found


if __name__ == "__main__":
    main()
