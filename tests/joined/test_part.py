"""A part's process on a node, of a script instead of vLLM: its end, its freezing, its children."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import psutil
import pytest

from engines.vllm.headless import part as module
from engines.vllm.headless.part import Part

pytestmark = pytest.mark.anyio

SCRIPT = """
import json, os, subprocess, sys, threading, time
told = json.loads(sys.stdin.readline())
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"])
print("child", child.pid, flush=True)
if told.get("fails"):
    child.kill()
    sys.exit("fjord: no memory for it")
def end():
    while os.read(0, 1): pass
    os.killpg(0, 9)
threading.Thread(target=end, daemon=True).start()
time.sleep(100)
"""


@asynccontextmanager
async def started(
    monkeypatch: pytest.MonkeyPatch, **told: object
) -> AsyncIterator[tuple[Part, psutil.Process, Callable[[str], "asyncio.Future[None]"]]]:
    monkeypatch.setattr(module, "COMMAND", [sys.executable, "-c", SCRIPT])
    changes = asyncio.Event()
    part = Part("p", "vllm:m", (), changes.set)
    part.start(told, {"PATH": "/usr/bin"})
    assert part._process is not None

    async def until(state: str) -> None:
        async with asyncio.timeout(15):
            while part.state.state != state:
                changes.clear()
                await changes.wait()

    try:
        yield part, psutil.Process(part._process.pid), until  # type: ignore[misc]
    finally:
        await part.end()


async def _child(part: Part) -> psutil.Process:
    async with asyncio.timeout(15):
        while not part._last:  # noqa: ASYNC110 - a thread fills it
            await asyncio.sleep(0.01)
    return psutil.Process(int(part._last[0].split()[1]))


async def test_its_own_last_words_say_why_it_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    async with started(monkeypatch, fails=True) as (part, _, until):
        await until("ended")
        assert part.state.words == "no memory for it"


async def test_killed_it_is_told_though_a_child_holds_its_pipe(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with started(monkeypatch) as (part, process, until):
        child = await _child(part)
        process.kill()
        await until("ended")
        assert part.state.words.startswith("its part ended by SIGKILL")
        assert not psutil.wait_procs([child], timeout=5)[1]


async def test_one_that_has_just_died_says_why_though_it_is_to_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The head may notice first."""
    async with started(monkeypatch) as (part, process, _):
        await _child(part)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222 - unseen
        await part.end()
        assert part.state.words.startswith("its part ended by SIGKILL")


async def test_a_child_that_stands_still_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_S", 0.1)
    monkeypatch.setattr(module, "FROZEN_S", 0.3)
    async with started(monkeypatch) as (part, _, until):
        child = await _child(part)
        child.send_signal(signal.SIGSTOP)
        await until("frozen")
        assert "SIGSTOP" in part.state.words


async def test_one_that_does_not_read_what_it_is_told_holds_nobody_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "COMMAND", [sys.executable, "-c", "import time; time.sleep(100)"])
    part = Part("p", "vllm:m", (), lambda: None)
    part.start({"spec": "x" * 500_000}, {"PATH": "/usr/bin"})
    async with asyncio.timeout(5):
        await part.end()


async def test_its_end_takes_all_with_it_and_is_no_news(monkeypatch: pytest.MonkeyPatch) -> None:
    async with started(monkeypatch) as (part, process, _):
        child = await _child(part)
        child.send_signal(signal.SIGSTOP)
        async with asyncio.timeout(3):
            await part.end()
        assert not psutil.wait_procs([process, child], timeout=2)[1]
        assert part.state.state == "starting"
        await part.end()


async def test_without_its_node_it_ends_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that is killed closes the pipe."""
    async with started(monkeypatch) as (part, process, _):
        child = await _child(part)
        assert part._process is not None
        assert part._process.stdin is not None
        part._process.stdin.close()
        assert not psutil.wait_procs([process, child], timeout=10)[1]
