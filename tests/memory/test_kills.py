"""`kill -9` at random moments: what was said to be kept is, none is half, each is billed once."""

import random
import sqlite3
import threading
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from server.memory.database import FILE_NAME
from tests.support.serve_process import Server, serving_registry
from tests.support.serving import read_records, wait_until

ROUNDS = 3
REGISTRY = """\
models:
  tiny:
    source: echo
    engine: scripted
    args: {text: "TEXT", token_delay_s: 0.002}
    context: 8K
    output: 1K
    preload: true
profiles:
  embedded: {}
""".replace("TEXT", "a " * 60)
URL = "/v1/responses"


class Asker(threading.Thread):
    """Asks on and on, in every way; remembers what it was told."""

    def __init__(self, server: Server, number: int) -> None:
        super().__init__()
        self.random = random.Random(number)
        headers = {"X-API-Key": server.key()}
        base = f"http://127.0.0.1:{server.port}"
        self.client = httpx.Client(base_url=base, headers=headers, timeout=30)
        self.kept: dict[str, dict[str, Any]] = {}
        self.begun: list[str] = []

    def run(self) -> None:
        previous = None
        with suppress(httpx.HTTPError), self.client:
            while True:
                body = {"model": "tiny", "input": "x", "previous_response_id": previous}
                if self.random.random() < 0.3:
                    told = self.client.post(URL, json=body | {"background": True}).json()
                    self.begun.append(told["id"])
                    continue
                told = self.client.post(URL, json=body | {"max_output_tokens": 50}).json()
                self.kept[told["id"]] = told
                previous = told["id"] if self.random.random() < 0.7 else None


@pytest.mark.slow
def test_what_was_said_to_be_kept_is(tmp_path: Path) -> None:
    kept: dict[str, dict[str, Any]] = {}
    begun: list[str] = []
    seed = random.Random(7)
    for _ in range(ROUNDS):
        with serving_registry(tmp_path, REGISTRY) as server:
            askers = [Asker(server, seed.randrange(10**6)) for _ in range(4)]
            for asker in askers:
                asker.start()
            wait_until(lambda them=askers: all(a.kept for a in them), "each was answered")  # type: ignore[misc]
            time.sleep(seed.random())  # the moment of the kill
            server.process.kill()
            server.process.wait(30)
            for asker in askers:
                asker.join(60)
                kept |= asker.kept
                begun += asker.begun
    with serving_registry(tmp_path, REGISTRY) as server:
        base, headers = f"http://127.0.0.1:{server.port}", {"X-API-Key": server.key()}
        with httpx.Client(base_url=base, headers=headers, timeout=30) as client:
            check(client, kept, begun)
    assert counted(tmp_path / "data") == summed(tmp_path / "data")
    assert broken_chains(tmp_path / "data") == 0
    records = read_records(tmp_path / "data")
    assert len({r["record_id"] for r in records}) == len(records)
    ended = [r for r in records if r["end"] in ("ok", "length")]
    assert len(ended) >= len(kept)


def check(client: httpx.Client, kept: dict[str, dict[str, Any]], begun: list[str]) -> None:
    for response_id, told in kept.items():
        assert client.get(f"{URL}/{response_id}").json() == told
    over = ("completed", "incomplete", "failed")

    def ends() -> set[str]:
        return {client.get(f"{URL}/{response_id}").json()["status"] for response_id in begun}

    wait_until(lambda: ends() <= set(over), "none is in progress for ever")


def query(data_dir: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(data_dir / FILE_NAME)) as connection:
        return connection.execute(sql).fetchall()


def counted(data_dir: Path) -> int:
    return int(query(data_dir, "SELECT sum(bytes) FROM memory_owners")[0][0])


def summed(data_dir: Path) -> int:
    tables = ("memory_responses", "memory_events", "memory_conversations")
    sums = [f"(SELECT coalesce(sum(bytes), 0) FROM {table})" for table in tables]
    return int(query(data_dir, f"SELECT {' + '.join(sums)}")[0][0])


def broken_chains(data_dir: Path) -> int:
    sql = """
    SELECT count(*) FROM memory_responses r WHERE previous_id IS NOT NULL AND NOT EXISTS
        (SELECT 1 FROM memory_responses WHERE response_id = r.previous_id)
    """
    return int(query(data_dir, sql)[0][0])
