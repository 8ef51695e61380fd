"""A real `fjord serve` on a scripted engine, and a crowd of clients that remembers what it saw."""

import json
import os
import random
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from benchmarks.soak import registry
from server.ledger.sqlite import FILE_NAME
from tests.support.paths import ROOT
from tests.support.serving import read_records, wait_until

CLIENTS = 20
OURS = {"FJORD_PROFILE": "embedded", "FJORD_REQUESTS_PER_MINUTE": "10000000"}
REGISTRY = registry("m", text="the boats come home", token_delay_s=0.003)


@dataclass
class Crowd:
    """What the clients of one server saw, by the requests' names."""

    url: str
    key: str
    prefix: str
    begun: set[str] = field(default_factory=set)
    """Requests of which the first byte of an answer came."""
    ended: set[str] = field(default_factory=set)
    """Requests of which the end came, and no error before it."""
    failed: set[str] = field(default_factory=set)
    """Streams that ended with an error."""
    refused: "Counter[int]" = field(default_factory=Counter)
    """Answers that were errors from the start, by status."""
    may_refuse: bool = False
    is_over: bool = False

    def client(self, number: int) -> None:
        """Asks for one answer after another, long and short, whole and streamed, until the end."""
        drawn = random.Random(f"{self.prefix}-{number}")
        limits = httpx.Limits(max_keepalive_connections=1)
        with httpx.Client(base_url=self.url, timeout=20, limits=limits) as http:
            for count in range(1 << 30):
                if self.is_over:
                    return
                tokens = drawn.choice([1, 4, 16, 200])
                with suppress(httpx.HTTPError):
                    self._ask(http, f"{self.prefix}-{number}-{count}", tokens, drawn.random() < 0.5)

    def _ask(self, http: httpx.Client, name: str, tokens: int, stream: bool) -> None:
        body = {
            "model": "m",
            "messages": [{"role": "user", "content": "go"}],
            "max_tokens": tokens,
            "ignore_eos": True,
            "stream": stream,
        }
        headers = {"X-API-Key": self.key, "X-Request-Id": name}
        request = http.stream("POST", "/v1/chat/completions", json=body, headers=headers)
        with request as answer:
            if answer.status_code != 200:
                self._refused(answer)
                return
            text = ""
            for piece in answer.iter_text():
                self.begun.add(name)
                text += piece
                if text.endswith("data: [DONE]\n\n") if stream else is_whole(text):
                    (self.failed if '"error"' in text else self.ended).add(name)

    def _refused(self, answer: httpx.Response) -> None:
        code = json.loads(answer.read())["error"]["code"]
        assert self.may_refuse, (answer.status_code, code)
        assert int(answer.headers["retry-after"]) >= 1
        self.refused[answer.status_code] += 1


def is_whole(text: str) -> bool:
    with suppress(json.JSONDecodeError):
        return "usage" in json.loads(text)
    return False


@contextmanager
def asking(crowd: Crowd) -> Iterator[Crowd]:
    """All clients of the crowd at work; at the end of the block each finishes its last answer."""
    threads = [threading.Thread(target=crowd.client, args=(n,)) for n in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        yield crowd
    finally:
        crowd.is_over = True
        for thread in threads:
            thread.join()


@contextmanager
def server_process(
    folder: Path, data: str = "data", environment: Mapping[str, str] | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    """`fjord serve` as its users start it, on the registry.yaml of `folder`; ended with SIGKILL
    where it still runs."""
    ours = {k: v for k, v in os.environ.items() if not k.startswith("FJORD_")}
    root = str(ROOT)
    arguments = ["--port", "0", "--registry", "registry.yaml", "--data-dir", data]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "server", "serve", *arguments],
            cwd=folder,
            env=ours | {"PYTHONPATH": root} | OURS | dict(environment or {}),
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def url_of(process: "subprocess.Popen[bytes]", log: Path) -> str:
    """Once it is ready to serve."""

    def said() -> str:
        assert process.poll() is None, log.read_text()
        words = log.read_text().split()
        return next((w.rstrip(",") for w in words if w.startswith("http://127")), "")

    wait_until(said, "the server says its address", 60)
    url = said()
    wait_until(lambda: readiness(url)[0] == 200, "the server is ready", 60)
    return url


def readiness(url: str) -> tuple[int, dict[str, Any]]:
    """The status of /ready, and why new work is refused."""
    answer = httpx.get(url + "/ready", timeout=20)
    refusing: dict[str, Any] = answer.json()["refusing"]
    return answer.status_code, refusing


def ends_of(records: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The name that a client gave its request -> its record's end; no request has two records."""
    ends = {record["record_id"].rsplit(".", 1)[0]: record["end"] for record in records}
    assert len(ends) == len(records), "a request has two records"
    return ends


def checked(data_dir: Path, crowds: Sequence[Crowd]) -> int:
    """The ledger once a server has started on it again; returns how many records are `lost`."""
    assert_clean(data_dir / FILE_NAME)
    found = read_records(data_dir)
    ends = ends_of(found)
    for crowd in crowds:
        assert {ends.get(name) for name in crowd.ended} <= {"length"}
        assert {ends.get(name) for name in crowd.begun - crowd.ended} <= {"length", "lost"}
    lost = [record for record in found if record["end"] == "lost"]
    assert all(record["prompt_tokens"] > 0 for record in lost)
    return len(lost)


def assert_clean(path: Path) -> None:
    """The file is whole, nothing is open, and the daily sums are the records' sums."""
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("SELECT count(*) FROM open_requests").fetchone() == (0,)
        billed = connection.execute("SELECT count(*), total(amount) FROM records").fetchone()
        assert (
            connection.execute("SELECT total(requests), total(amount) FROM daily").fetchone()
            == billed
        )
