"""`fjord serve` ends: real processes, real signals."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil
import pytest

from tests.support.serve_process import (
    ENDLESS,
    ask,
    environment,
    serving,
    streaming,
    with_registry,
)

pytestmark = pytest.mark.slow  # processes of their own


def test_sigterm_ends_an_idle_server_with_status_0_and_no_process_left(home: Path) -> None:
    with serving(home) as server:
        server.until("Ready")
        children = psutil.Process(server.process.pid).children(recursive=True)
        assert server.ends(signal.SIGTERM, within_s=20) == 0
    assert not [child for child in children if child.is_running()]


def test_ctrl_c_ends_running_streams(home: Path) -> None:
    with_registry(home, token_delay_s=0.05)
    with serving(home, "--no-auth") as server:
        url = server.url()
        with streaming(url, **ENDLESS) as events:
            next(events)
            assert server.ends(signal.SIGINT, within_s=20) == 0


def test_sigterm_lets_a_running_stream_finish_and_refuses_new_work(home: Path) -> None:
    with_registry(home, token_delay_s=0.1, text="a b c d e f g h i j k l m n o p")
    with serving(home, "--no-auth") as server:
        url = server.url()
        with streaming(url) as events:
            next(events)
            server.process.send_signal(signal.SIGTERM)
            wait_for_drain(url)
            refused = ask(url)
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "SHUTTING_DOWN")
            *_, last, done = events
            assert json.loads(last[6:])["choices"][0]["finish_reason"] == "stop"
            assert done == "data: [DONE]"
        assert server.process.wait(30) == 0


def test_ctrl_c_hastens_a_drain(home: Path) -> None:
    with_registry(home, token_delay_s=0.1)
    with serving(home, "--no-auth") as server:
        url = server.url()
        with streaming(url, **ENDLESS) as events:
            next(events)
            server.process.send_signal(signal.SIGTERM)
            wait_for_drain(url)
            assert server.ends(signal.SIGINT, within_s=20) == 0


def test_a_thread_that_cannot_be_stopped_does_not_keep_the_process() -> None:
    """As a large model's load inside a library."""
    code = """
import threading
from server.cli.serve import leave_stuck_threads
threading.Thread(target=threading.Event().wait).start()
leave_stuck_threads(7)
"""
    ended = subprocess.run([sys.executable, "-c", code], env=environment(), timeout=30)
    assert ended.returncode == 7


def wait_for_drain(url: str) -> None:
    for _ in range(500):
        if httpx.get(f"{url}/ready").json()["refusing"]:
            return
        time.sleep(0.01)
    raise AssertionError("it never drained")
