"""A whole `fjord serve` with two replicas on vLLM, steered as an operator does it: loaded, pinned,
one of them killed under its requests, another registry applied, unloaded. Two starts in all."""

import contextlib
import json
import os
import signal
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Semaphore
from typing import Any

import httpx
import psutil
import pytest

from engines.testing.tiny import make_llama
from tests.support.command import fjord_here as fjord
from tests.support.serve_process import Server, serving_registry
from tests.support.serving import read_records, wait_until

pytestmark = [pytest.mark.vllm, pytest.mark.slow]

ARGS = {"dtype": "float32", "enforce_eager": True, "kv_cache_memory_bytes": 2**27}
MODEL = """\
models:
  tiny:
    source: {source}
    engine: vllm
    args: {args}
    context: 4K
    output: 2K
    price: {{input: "1.00", output: "{price}"}}
    replicas: {replicas}
profiles:
  embedded: {{}}
"""
STREAMS, WHOLE, TOKENS = 6, 4, 800
PIECE_S = 180


class Site:
    """The server, its registry and its requests."""

    def __init__(self, server: Server, source: Path) -> None:
        self.server, self._source = server, source
        self.url, self._key = f"http://127.0.0.1:{server.port}", server.key()
        self.begun = Semaphore(0)
        """Released by each stream that has a first token."""

    def write(self, price: str, replicas: int) -> None:
        text = written(self._source, price, replicas)
        (self.server.home / "model_registry.yaml").write_text(text)

    def told(self, *words: str) -> str:
        shown = fjord(self.server.home, *words, "--port", self.server.port)
        assert shown.returncode == 0, shown.stderr
        return shown.stdout

    def model(self) -> dict[str, Any]:
        (found,) = json.loads(self.told("models", "--json"))
        assert isinstance(found, dict)
        return found

    def is_ready(self, replicas: int) -> bool:
        return bool(self.model()["ready_replicas"] == replicas)

    def running(self) -> int:
        engines = httpx.get(f"{self.url}/ready").json()["engines"]
        return sum(engine["requests"] for engine in engines)

    def cores(self) -> list[psutil.Process]:
        """vLLM's engines, and what they have started."""
        found = []
        for process in psutil.Process(self.server.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                if "EngineCore" in " ".join(process.cmdline()):
                    found.append(process)
        return found

    def whole(self, number: int) -> dict[str, Any]:
        post = httpx.post(**self._asked(number, stream=False))
        assert post.status_code == 200, post.text
        answer: dict[str, Any] = post.json()
        return answer

    def stream(self, number: int) -> list[Any]:
        """Its events, to the last one; `begun` is released at the first."""
        events: list[Any] = []
        with httpx.stream("POST", **self._asked(number, stream=True)) as answer:
            assert answer.status_code == 200, answer.read()
            for data in data_of(answer):
                events.append(data if data == "[DONE]" else json.loads(data))
                if len(events) == 1:
                    self.begun.release()
        return events

    def _asked(self, number: int, *, stream: bool) -> dict[str, Any]:
        body = {
            "model": "tiny",
            "prompt": f"{number} boats",
            "max_tokens": TOKENS,
            "stream": stream,
        }
        body |= {"ignore_eos": True} | (
            {"stream_options": {"include_usage": True}} if stream else {}
        )
        headers = {"X-API-Key": self._key}
        url = f"{self.url}/v1/completions"
        return {"url": url, "headers": headers, "json": body, "timeout": PIECE_S}


def written(source: Path, price: str, replicas: int) -> str:
    return MODEL.format(source=source, args=json.dumps(ARGS), price=price, replicas=replicas)


def wait(semaphore: Semaphore, times: int) -> None:
    for _ in range(times):
        assert semaphore.acquire(timeout=PIECE_S), "a stream has no first token"


@pytest.mark.timeout(600)
def test_replicas_are_steered_and_one_that_is_killed_takes_its_streams_alone(
    tmp_path: Path,
) -> None:
    source, home = make_llama(tmp_path / "model"), tmp_path / "home"
    home.mkdir()
    with (
        serving_registry(home, written(source, "2.00", 2)) as server,
        ThreadPoolExecutor(STREAMS + WHOLE) as pool,
    ):
        site = Site(server, source)
        assert site.told("models", "load", "tiny").splitlines()[-1] == "tiny: ready"
        wait_until(lambda: site.is_ready(2), "both replicas serve", 120)
        assert site.told("models", "pin", "tiny").startswith("tiny: ready, pinned")
        lost = one_is_killed_under_its_requests(site, pool)
        assert site.model()["ready_replicas"] >= 1
        last = another_registry_is_applied_in_mid_stream(site, pool)
        site.told("models", "unload", "tiny")
        assert last.result()[-1] == "[DONE]", "neither the apply nor the unload cuts it"
        assert site.model()["state"] == "cold"
        wait_until(lambda: not site.cores(), "the replica that was still starting is gone, too")
        assert server.ends(signal.SIGINT) == 0
    records = read_records(home / "data")
    assert sorted(record["end"] for record in records) == [
        *["engine_died"] * lost,
        *["length"] * (STREAMS + WHOLE + 1 - lost),
    ]
    whole = [record for record in records if record["end"] == "length"]
    assert {record["completion_tokens"] for record in whole} == {TOKENS}
    assert all(0 < r["completion_tokens"] < TOKENS for r in records if r not in whole)


def data_of(answer: httpx.Response) -> Iterator[str]:
    """Of each event. `iter_lines` also ends a line at what Unicode calls one, inside a text."""
    rest = ""
    for text in answer.iter_text():
        *lines, rest = (rest + text).split("\n")
        yield from (line.removeprefix("data: ") for line in lines if line.startswith("data: "))


def one_is_killed_under_its_requests(site: Site, pool: ThreadPoolExecutor) -> int:
    """How many streams it took with it. Whole answers, of which nothing was said, are made by the
    other one."""
    streams = [pool.submit(site.stream, number) for number in range(STREAMS)]
    wait(site.begun, STREAMS)
    answers = [pool.submit(site.whole, STREAMS + number) for number in range(WHOLE)]
    wait_until(lambda: site.running() == STREAMS + WHOLE, "all of them run")
    cores = site.cores()
    assert len(cores) == 2
    os.kill(cores[0].pid, signal.SIGKILL)
    assert {answer.result()["usage"]["completion_tokens"] for answer in answers} == {TOKENS}
    ends = [events.result()[-2:] for events in streams]
    cut = [end for end in ends if "error" in end[0]]
    assert all(end[1] == "[DONE]" for end in ends)
    assert 0 < len(cut) < STREAMS, "both had some"
    assert {end[0]["error"]["code"] for end in cut} == {"MODEL_UNAVAILABLE"}
    assert all(end[0]["usage"]["completion_tokens"] == TOKENS for end in ends if end not in cut)
    return len(cut)


def another_registry_is_applied_in_mid_stream(
    site: Site, pool: ThreadPoolExecutor
) -> "Future[list[Any]]":
    """Another price, and one replica: the stream that runs meanwhile."""
    last = pool.submit(site.stream, 99)
    wait(site.begun, 1)
    site.write("3.00", 1)
    assert site.told("apply", "--dry-run").startswith("tiny: changed (price, replicas)\n")
    assert site.told("apply") == "tiny: changed (price, replicas)\n"
    assert site.model()["replicas"] == 1
    assert site.told("models", "unpin", "tiny").endswith("not pinned\n")
    return last
