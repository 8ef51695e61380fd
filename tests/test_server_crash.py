"""`kill -9` on a serving process under load: no answer whose end was seen is without its record.

FJORD_TEST_KILLS=30 asks for more rounds than the suite has time for.
"""

import json
import os
import random
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from server.ledger.sqlite import FILE_NAME
from tests.serving import make_key, read_records, wait_until

ROUNDS = int(os.environ.get("FJORD_TEST_KILLS", "4"))
CLIENTS = 20
OURS = {"FJORD_PROFILE": "embedded", "FJORD_REQUESTS_PER_MINUTE": "10000000"}
REGISTRY = """\
models:
  m:
    source: nowhere
    engine: scripted
    args: {text: "the boats come home", token_delay_s: 0.003}
    context: 4K
    output: 1K
    price: {input: "5.00", output: "10.00"}
    preload: true
profiles:
  embedded: {}
"""


@dataclass
class Crowd:
    """What the clients of one server saw."""

    url: str
    key: str
    prefix: str
    begun: set[str] = field(default_factory=set)
    """Requests of which the first byte of an answer came."""
    ended: set[str] = field(default_factory=set)
    """Requests of which the end came."""
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
            assert answer.status_code == 200
            text = ""
            for piece in answer.iter_text():
                self.begun.add(name)
                text += piece
                if text.endswith("data: [DONE]\n\n") if stream else is_whole(text):
                    self.ended.add(name)


def is_whole(text: str) -> bool:
    with suppress(json.JSONDecodeError):
        return "usage" in json.loads(text)
    return False


@contextmanager
def server_process(folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """`fjord serve` as its users start it; ended with SIGKILL."""
    ours = {k: v for k, v in os.environ.items() if not k.startswith("FJORD_")}
    root = str(Path(__file__).parent.parent)
    arguments = ["--port", "0", "--registry", "registry.yaml", "--data-dir", "data"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "server", "serve", *arguments],
            cwd=folder,
            env=ours | {"PYTHONPATH": root} | OURS,
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

    wait_until(said, "the server says its address")
    url = said()
    wait_until(lambda: httpx.get(url + "/ready").status_code == 200, "the server is ready")
    return url


def load_and_kill(process: "subprocess.Popen[bytes]", crowd: Crowd, answers: int) -> None:
    """Kill once so many answers were seen; ends when every client has noticed."""
    threads = [threading.Thread(target=crowd.client, args=(n,)) for n in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: len(crowd.ended) >= answers, "answers come", 30)
    finally:
        process.kill()
        crowd.is_over = True
        for thread in threads:
            thread.join()


def checked(data_dir: Path, crowds: Sequence[Crowd]) -> int:
    """The ledger once a server has started on it again; returns how many records are `lost`."""
    assert_clean(data_dir / FILE_NAME)
    found = read_records(data_dir)
    ends = {record["record_id"].rsplit(".", 1)[0]: record["end"] for record in found}
    assert len(ends) == len(found), "a request has two records"
    for crowd in crowds:
        assert {ends.get(name) for name in crowd.ended} == {"length"}
        assert {ends.get(name) for name in crowd.begun - crowd.ended} <= {"length", "lost"}
    lost = [record for record in found if record["end"] == "lost"]
    assert all(record["prompt_tokens"] > 0 for record in lost)
    return len(lost)


def assert_clean(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("SELECT count(*) FROM open_requests").fetchone() == (0,)
        billed = connection.execute("SELECT count(*), total(amount) FROM records").fetchone()
        assert (
            connection.execute("SELECT total(requests), total(amount) FROM daily").fetchone()
            == billed
        )


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_no_kill_of_the_server_loses_or_doubles_a_record(tmp_path: Path) -> None:
    (tmp_path / "registry.yaml").write_text(REGISTRY)
    key = make_key(tmp_path / "data")
    drawn, crowds, lost = random.Random(9), list[Crowd](), 0
    for number in range(ROUNDS + 1):
        with server_process(tmp_path) as process:
            url = url_of(process, tmp_path / "log")
            lost, before = checked(tmp_path / "data", crowds), lost
            assert lost > before or not crowds, "nothing was in flight when it was killed"
            if number < ROUNDS:
                crowds.append(Crowd(url, key, f"r{number}"))
                load_and_kill(process, crowds[-1], drawn.randrange(1, 15 * CLIENTS))
