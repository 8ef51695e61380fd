"""`kill -9` on a serving process under load: no answer whose end was seen is without its record.

FJORD_TEST_KILLS=30 asks for more rounds than the suite has time for.
"""

import os
import random
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from tests.support.crowd import CLIENTS, REGISTRY, Crowd, asking, checked, server_process, url_of
from tests.support.serving import make_key, read_records, wait_until

ROUNDS = int(os.environ.get("FJORD_TEST_KILLS", "4"))


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


def load_and_kill(process: "subprocess.Popen[bytes]", crowd: Crowd, answers: int) -> None:
    """Kill once so many answers were seen; ends when every client has noticed."""
    with asking(crowd):
        try:
            wait_until(lambda: len(crowd.ended) >= answers, "answers come", 30)
        finally:
            process.kill()


@pytest.mark.alone
@pytest.mark.slow
def test_a_kill_leaves_less_than_half_a_second_of_a_stream_unbilled(tmp_path: Path) -> None:
    (tmp_path / "registry.yaml").write_text(REGISTRY)
    key, streams = make_key(tmp_path / "data"), 8
    came: dict[str, list[float]] = {f"stream-{number}": [] for number in range(streams)}
    with server_process(tmp_path) as process, ThreadPoolExecutor(streams) as threads:
        url = url_of(process, tmp_path / "log")
        for name, moments in came.items():
            threads.submit(read_stream, url, key, name, moments)
        wait_until(lambda: min(map(len, came.values())) >= 100, "all streams run", 60)
        killed_at = time.monotonic()
        process.kill()
    with server_process(tmp_path) as process:
        url_of(process, tmp_path / "log")
    records = read_records(tmp_path / "data")
    assert [r["end"] for r in records] == ["lost"] * streams
    for record in records:
        unbilled = came[record["record_id"].split(".")[0]][record["completion_tokens"] :]
        assert killed_at - (unbilled[0] if unbilled else killed_at) < 0.5


def read_stream(url: str, key: str, name: str, moments: list[float]) -> None:
    """Notes when each token came, until the connection breaks."""
    asked = {"model": "m", "messages": [{"role": "user", "content": "go"}], "max_tokens": 1000}
    body = asked | {"ignore_eos": True, "stream": True}
    headers = {"X-API-Key": key, "X-Request-Id": name}
    with suppress(httpx.HTTPError), httpx.Client(base_url=url, timeout=30) as http:
        request = http.stream("POST", "/v1/chat/completions", json=body, headers=headers)
        with request as answer:
            for line in answer.iter_lines():
                if '"content":"' in line and '"role"' not in line:
                    moments.append(time.monotonic())
