"""Time to the first token of interactive streams, alone and beside a running batch.

    python -m benchmarks.batch_beside --json FILE
    python -m benchmarks.batch_beside --url URL --key KEY --model M    # a server that runs already

Open loop: a stream each `--every` seconds, in turns of `--turn` seconds without and with a batch on
the same server, so that what else happens on the machine falls on both.
"""

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from benchmarks.batch_kills import killed_server

REGISTRY = """\
models:
  m:
    source: echo
    engine: scripted
    args: {first_token_delay_s: 0.02, token_delay_s: 0.005}
    context: 4K
    output: 1K
    load: start
"""
TEXT = "one two three four five six seven eight nine ten " * 2


def quantile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


async def streamed(http: httpx.AsyncClient, model: str, kept: list[float]) -> None:
    body = {
        "model": model,
        "messages": [{"role": "user", "content": TEXT}],
        "stream": True,
        "max_tokens": 16,
    }
    began = time.perf_counter()
    async with http.stream("POST", "/v1/chat/completions", json=body) as answer:
        answer.raise_for_status()
        async for line in answer.aiter_lines():
            if began and line.startswith("data: ") and '"content":"' in line:
                kept.append((time.perf_counter() - began) * 1000)
                began = 0.0


async def turn(http: httpx.AsyncClient, model: str, seconds: float, every_s: float) -> list[float]:
    kept: list[float] = []
    tasks = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        tasks.append(asyncio.ensure_future(streamed(http, model, kept)))
        await asyncio.sleep(every_s)
    await asyncio.gather(*tasks)
    return kept


async def begun(http: httpx.AsyncClient, model: str, lines: int) -> str:
    asked = {"model": model, "messages": [{"role": "user", "content": TEXT}], "max_tokens": 16}
    line = {"method": "POST", "url": "/v1/chat/completions", "body": asked}
    text = b"".join(
        json.dumps({"custom_id": str(i), **line}).encode() + b"\n" for i in range(lines)
    )
    form = {"purpose": "batch"}
    file = await http.post("/v1/files", data=form, files={"file": ("in.jsonl", text)})
    body = {
        "input_file_id": file.raise_for_status().json()["id"],
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
    }
    made = (await http.post("/v1/batches", json=body)).raise_for_status().json()
    while (await looked(http, made["id"]))["status"] == "validating":  # noqa: ASYNC110
        await asyncio.sleep(0.1)
    return str(made["id"])


async def looked(http: httpx.AsyncClient, batch_id: str) -> dict[str, Any]:
    found: dict[str, Any] = (await http.get(f"/v1/batches/{batch_id}")).json()
    return found


async def measured(url: str, key: str, given: argparse.Namespace) -> dict[str, Any]:
    alone: list[float] = []
    beside: list[float] = []
    done = 0
    async with httpx.AsyncClient(base_url=url, headers={"X-API-Key": key}, timeout=300) as http:
        await turn(http, given.model, 2, given.every)  # warm
        for _ in range(given.turns):
            alone += await turn(http, given.model, given.turn, given.every)
            batch_id = await begun(http, given.model, given.lines)
            beside += await turn(http, given.model, given.turn, given.every)
            counts = (await looked(http, batch_id))["request_counts"]
            done += counts["completed"]
            if counts["completed"] == counts["total"]:
                raise RuntimeError("the batch was over before the turn was: more --lines")
            await http.post(f"/v1/batches/{batch_id}/cancel")
            while (await looked(http, batch_id))["status"] != "cancelled":  # noqa: ASYNC110
                await asyncio.sleep(0.1)
    return told(alone, beside, done)


def told(alone: Sequence[float], beside: Sequence[float], done: int) -> dict[str, Any]:
    found: dict[str, Any] = {"batch_lines_done": done, "streams": [len(alone), len(beside)]}
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        a, b = quantile(alone, share), quantile(beside, share)
        found |= {f"{name}_alone_ms": round(a, 2), f"{name}_beside_ms": round(b, 2)}
        found[f"{name}_ratio"] = round(b / a, 3)
    found["mean_ratio"] = round(statistics.mean(beside) / statistics.mean(alone), 3)
    return found


@contextmanager
def reached(given: argparse.Namespace) -> Iterator[tuple[str, str]]:
    if given.url is not None:
        yield given.url, given.key
        return
    with (
        tempfile.TemporaryDirectory() as folder,
        killed_server(Path(folder), REGISTRY) as server,
    ):
        yield str(server.http.base_url), server.http.headers["X-API-Key"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url")
    parser.add_argument("--key", default="")
    parser.add_argument("--model", default="m")
    parser.add_argument("--lines", type=int, default=20_000)
    parser.add_argument("--every", type=float, default=0.08)
    parser.add_argument("--turn", type=float, default=8.0)
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    with reached(given) as (url, key):
        found = asyncio.run(measured(url, key, given))
    text = json.dumps(found, indent=2)
    print(text)
    if given.json is not None:
        given.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
