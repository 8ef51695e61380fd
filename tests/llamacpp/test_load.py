"""llama.cpp's own process: its load keeps no event loop, and whatever becomes of it ends well."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from engines.base import EngineDead, EngineHung, EngineUnavailable
from engines.llamacpp import model, server_process
from engines.llamacpp.engine import LlamacppEngine
from engines.registry.spec import EngineSpec
from engines.weights.packaged_model import gguf_path
from tests.support.engine_fixtures import answer, ask, count, llamacpp_engine, longest_stall_s
from tests.support.paths import ROOT
from tests.support.serving import wait_until

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

LONG: dict[str, Any] = {"max_tokens": 2000, "ignore_eos": True}
KEPT_S = 0.2
"""In the server's process it was half a second of CPU."""


_OTHERS: set[int] = set()
"""Processes of llama.cpp that other tests of this session share."""


@pytest.fixture(autouse=True)
def others() -> Iterator[None]:
    shared = (*processes(), *processes(module="form_trial_child"))
    _OTHERS.update(process.pid for process in shared)
    yield
    _OTHERS.clear()


def processes(
    parent: psutil.Process | None = None, module: str = "server_child"
) -> list[psutil.Process]:
    """Of llama.cpp, started by this test or by `parent`, that live."""
    found = []
    for child in (parent or psutil.Process()).children():
        with contextlib.suppress(psutil.Error):  # gone, or nearly
            if child.pid in _OTHERS:
                continue
            if f"engines.llamacpp.{module}" in " ".join(child.cmdline()):
                found.append(child)
    return found


def is_alive(process: psutil.Process) -> bool:
    """A zombie is not: pid 1 may be slow to look after it."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


async def until(is_true: Callable[[], Any]) -> None:
    async with asyncio.timeout(60):
        while not is_true():  # noqa: ASYNC110 - another process does it
            await asyncio.sleep(0.01)


FRONT = """
import asyncio, sys
from engines.weights.packaged_model import gguf_path
from tests.support.engine_fixtures import llamacpp_engine

async def main():
    engine = llamacpp_engine(gguf_path())
    await engine.start()
    print("ready", flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.fixture
async def engine() -> AsyncIterator[LlamacppEngine]:
    made = llamacpp_engine(gguf_path())
    assert isinstance(made, LlamacppEngine)
    yield made
    await made.stop()
    assert processes() == []


async def running(engine: LlamacppEngine, streams: int) -> list["asyncio.Future[Any]"]:
    """Long answers, of which each has a token."""
    found = [asyncio.ensure_future(answer(engine, ask(f"{n}?", **LONG))) for n in range(streams)]
    await until(lambda: engine.generated_tokens >= streams)
    return list(found)


async def test_neither_its_load_nor_its_end_keeps_the_event_loop(engine: LlamacppEngine) -> None:
    await engine.start()  # what is imported is
    assert await longest_stall_s(asyncio.ensure_future(engine.stop())) < KEPT_S
    assert await longest_stall_s(asyncio.ensure_future(engine.start())) < KEPT_S
    assert count(await answer(engine, ask(max_tokens=3, ignore_eos=True))) == 3


async def test_one_that_is_killed_fails_its_streams_at_once(engine: LlamacppEngine) -> None:
    await engine.start()
    streams = await running(engine, 4)
    (process,) = processes()
    process.kill()
    ends = await asyncio.wait_for(asyncio.gather(*streams, return_exceptions=True), 10)
    assert {type(end) for end in ends} == {EngineDead}
    with pytest.raises(EngineDead):
        await engine.check(5.0)
    with pytest.raises(EngineDead):
        await answer(engine, ask(max_tokens=2))


async def test_one_that_is_frozen_is_found_and_ends(engine: LlamacppEngine) -> None:
    await engine.start()
    streams = await running(engine, 2)
    (process,) = processes()
    process.suspend()
    await until(lambda: process.status() == psutil.STATUS_STOPPED)
    with pytest.raises(EngineHung):
        await engine.check(1.0)
    await asyncio.wait_for(engine.stop(), 10)
    ends = await asyncio.gather(*streams, return_exceptions=True)
    assert {type(end) for end in ends} == {EngineDead}


async def test_a_sigterm_to_all_processes_is_for_the_front(engine: LlamacppEngine) -> None:
    """As Slurm's scancel sends it: answers go on until the front ends the engine."""
    await engine.start()
    streams = await running(engine, 2)
    (process,) = processes()
    process.terminate()
    await engine.check(10.0)
    assert not [stream for stream in streams if stream.done()]
    await asyncio.wait_for(engine.stop(), 10)
    await asyncio.gather(*streams, return_exceptions=True)
    assert not is_alive(process)


@pytest.mark.parametrize("sent", [None, signal.SIGSTOP])
async def test_a_load_that_is_given_up_leaves_no_process(
    engine: LlamacppEngine, sent: signal.Signals | None
) -> None:
    starting = asyncio.ensure_future(engine.start())
    await until(processes)
    if sent is not None:
        os.kill(processes()[0].pid, sent)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    await until(lambda: not processes())


@pytest.mark.parametrize("step", ["process", "client"])
async def test_a_load_may_be_given_up_between_any_two_of_its_steps(
    engine: LlamacppEngine, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Its process was started and nobody knows it yet; all is loaded and nobody was told."""
    module, name = (server_process, "_popen") if step == "process" else (model, "FormTrial")
    loop, is_given_up, real = asyncio.get_running_loop(), threading.Event(), getattr(module, name)

    def slow(*given: Any) -> Any:
        made = real(*given)
        loop.call_soon_threadsafe(starting.cancel)
        assert is_given_up.wait(60)
        return made

    monkeypatch.setattr(module, name, slow)
    starting = asyncio.ensure_future(engine.start())
    with pytest.raises(asyncio.CancelledError):
        await starting
    is_given_up.set()
    await until(lambda: not processes())
    await until(lambda: not processes(module="form_trial_child"))


async def test_a_load_that_fails_at_its_very_end_leaves_no_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*given: Any) -> None:
        raise RuntimeError("no answer")

    monkeypatch.setattr(model, "HttpClient", broken)
    engine = llamacpp_engine(gguf_path())
    with pytest.raises(EngineUnavailable, match="no answer"):
        await engine.start()
    assert processes() == []


async def test_a_model_that_is_damaged_is_told_in_words(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(gguf_path().read_bytes()[:50_000_000])
    engine = LlamacppEngine(EngineSpec(kind="llamacpp", source="m", args={}), damaged)
    with pytest.raises(EngineUnavailable, match=r"llama\.cpp cannot load"):
        await engine.start()
    assert processes() == []


@pytest.mark.parametrize("is_frozen", [False, True])
@pytest.mark.parametrize("has_session", [False, True], ids=["of a shell", "of a service"])
def test_one_whose_server_is_killed_ends_with_it(is_frozen: bool, has_session: bool) -> None:
    command = [sys.executable, "-c", FRONT]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, env=environment, start_new_session=has_session
    ) as front:
        assert front.stdout is not None
        assert front.stdout.readline() == b"ready\n"
        (process,) = processes(psutil.Process(front.pid))
        if is_frozen:
            process.suspend()
            wait_until(lambda: process.status() == psutil.STATUS_STOPPED, "it is frozen")
        front.kill()
    wait_until(lambda: not is_alive(process), "it has ended")
