"""vLLM's processes: killed, frozen, orphaned, interrupted, given up. None is ever left behind.

Those that are killed and frozen are several, as where a model spans devices: two tensor-parallel
workers and two data-parallel engines, with the fast path and without it.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from engines.base import Delta, Engine, EngineDead, EngineHung, EngineUnavailable, Sink
from engines.testing.tiny import make_llama
from tests.support.engine_fixtures import answer, ask, count, vllm_engine
from tests.support.fork_server import MARK

pytestmark = [pytest.mark.anyio, pytest.mark.vllm, pytest.mark.slow]

FRONT = """
import asyncio, pathlib, signal, sys
from tests.support.engine_fixtures import answer, ask, vllm_engine

async def main():
    engine = vllm_engine(pathlib.Path(sys.argv[1]), distributed_executor_backend="mp")
    interrupted = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, interrupted.set)
    print("starting", flush=True)
    await engine.start()
    print("ready", *engine.pids, flush=True)
    await interrupted.wait()
    deltas = await answer(engine, ask(max_tokens=5, ignore_eos=True))
    print("drained", len(deltas), flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_llama(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def several(monkeypatch: pytest.MonkeyPatch) -> None:
    """vLLM gives each worker a NUMA node of its own, and a small machine has one."""
    monkeypatch.setenv("VLLM_CPU_OMP_THREADS_BIND", "nobind")


class Busy:
    """A sink that is never ready: its stream takes the direct way, and every delta is read."""

    def is_ready(self) -> bool:
        return False

    def take(self, delta: Delta) -> None:
        raise AssertionError("it was not ready")


async def told(engine: Any, sink: Sink | None) -> tuple[list[Delta], Exception | None]:
    """All deltas of a long answer, and what ended them."""
    request, deltas = ask(max_tokens=3000, ignore_eos=True), list[Delta]()
    try:
        async for delta in engine.generate(request, await engine.render(request), sink):
            deltas.append(delta)
    except Exception as error:
        return deltas, error
    return deltas, None


@pytest.fixture(autouse=True)
def nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whatever a test does to an engine, its processes and their reaper are gone after it."""
    mark = uuid.uuid4().hex
    monkeypatch.setenv(MARK, mark)
    monkeypatch.setenv("SPT_NOENV", "1")  # else a process that names itself hides its environment
    yield
    wait_until(lambda: not marked(mark), 30, "every process of the engine is gone")


def marked(mark: str) -> list[str]:
    """Found by what they inherited, so that orphans are seen too."""
    found = []
    for process in psutil.process_iter(["pid"]):
        with contextlib.suppress(psutil.Error):
            if process.pid != os.getpid() and process.environ().get(MARK) == mark:
                words = " ".join(process.cmdline())
                if "resource_tracker" not in words and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(words)
    return found


def command_line(process: psutil.Process) -> str:
    """Empty where it ended meanwhile."""
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


def wait_until(is_true: Callable[[], Any], timeout_s: float, what: str) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_true():
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        time.sleep(0.05)


def core_pid(engine: Any) -> int:
    [pid] = [p for p in engine.pids if psutil.Process(p).ppid() == os.getpid()]
    return int(pid)


async def stopped_within(engine: Engine, limit_s: float) -> None:
    began = time.monotonic()
    await engine.stop()
    assert time.monotonic() - began < limit_s


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("several")
async def test_a_frozen_engine_is_seen_recovers_and_when_killed_fails_its_streams(
    tiny: Path,
) -> None:
    engine = vllm_engine(tiny, tensor_parallel_size=2)
    await engine.start()
    assert engine._fast_path is not None
    assert len(engine.pids) == 3
    pid = core_pid(engine)
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(EngineHung):
        await engine.check(1.0)
    os.kill(pid, signal.SIGCONT)
    await engine.check(10.0)

    streams = [
        asyncio.ensure_future(answer(engine, ask(max_tokens=3000, ignore_eos=True)))
        for _ in range(8)
    ]
    assert count(await answer(engine, ask(max_tokens=5, ignore_eos=True))) == 5
    os.kill(pid, signal.SIGKILL)
    began = time.monotonic()
    results = await asyncio.gather(*streams, return_exceptions=True)
    assert time.monotonic() - began < 10
    assert {type(result) for result in results} == {EngineDead}
    with pytest.raises(EngineDead):
        await engine.check(5.0)
    with pytest.raises(EngineDead):
        await answer(engine, ask())
    await stopped_within(engine, 10)
    await engine.stop()


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("several")
async def test_a_frozen_engine_is_found_soon_while_streams_wait_and_stops_within_ten_seconds(
    tiny: Path,
) -> None:
    engine = vllm_engine(tiny, tensor_parallel_size=2, fastpath=False)
    await engine.start()
    await answer(engine, ask(max_tokens=2))
    await engine.check(30.0)
    streams = [
        asyncio.ensure_future(answer(engine, ask(max_tokens=3000, ignore_eos=True)))
        for _ in range(4)
    ]
    await answer(engine, ask(max_tokens=40, ignore_eos=True))  # the others run by now
    os.kill(core_pid(engine), signal.SIGSTOP)
    began = time.monotonic()
    with pytest.raises(EngineHung, match="within 7 s"):
        await engine.check(30.0)
    assert time.monotonic() - began < 10
    for pid in engine.pids:
        os.kill(pid, signal.SIGSTOP)
    await stopped_within(engine, 10)
    results = await asyncio.gather(*streams, return_exceptions=True)
    assert {type(result) for result in results} == {EngineDead}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("fastpath", [True, False], ids=["fast path", "vLLM's own"])
async def test_where_one_of_two_data_parallel_engines_dies_no_stream_ends_as_aborted(
    tiny: Path, fastpath: bool
) -> None:
    """vLLM takes the other one down and aborts what runs on it; streams on its direct way and on
    the public one are told that their engine died, as those on the one that was killed."""
    engine = vllm_engine(tiny, data_parallel_size=2, fastpath=fastpath)
    await engine.start()
    assert (engine._fast_path is not None) is fastpath
    streams = [
        asyncio.ensure_future(told(engine, sink)) for sink in (Busy(), None) for _ in range(4)
    ]
    await answer(engine, ask(max_tokens=20, ignore_eos=True))  # the others run by now
    cores = [p for p in engine.pids if "EngineCore" in " ".join(psutil.Process(p).cmdline())]
    assert len(cores) == 2
    os.kill(cores[0], signal.SIGKILL)
    ends = await asyncio.wait_for(asyncio.gather(*streams), 60)
    assert [type(error) for _, error in ends] == [EngineDead] * 8
    assert {delta.finish_reason for deltas, _ in ends for delta in deltas} <= {None}
    why = {"aborted the request by itself" in str(error) for _, error in ends}
    assert why == {True, False}, "both engines had some"
    await stopped_within(engine, 10)


async def test_a_start_that_is_given_up_leaves_nothing(tiny: Path) -> None:
    engine = vllm_engine(tiny)
    starting = asyncio.ensure_future(engine.start())
    await asyncio.to_thread(wait_until, lambda: engine.pids, 60, "a first process")
    starting.cancel()
    began = time.monotonic()
    with pytest.raises(asyncio.CancelledError):
        await starting
    await engine.stop()
    assert time.monotonic() - began < 10
    assert engine.pids == []


@pytest.mark.timeout(60)
async def test_a_stop_does_not_hang_where_vllm_still_holds_its_sockets(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """vLLM closes them on the loop, at the end of a shutdown that may be too slow to wait for."""
    release = threading.Event()
    monkeypatch.setattr("engines.vllm.ending._SHUTDOWN_S", 0.1)
    engine = vllm_engine(tiny)
    await engine.start()
    await answer(engine, ask(max_tokens=2))
    resources = "vllm.v1.engine.core_client.BackgroundResources"
    monkeypatch.setattr(f"{resources}.__call__", lambda held: release.wait(50))
    began = time.monotonic()
    try:
        await engine.stop()
    finally:
        release.set()
    assert time.monotonic() - began < 10
    assert engine.pids == []


async def test_a_stop_during_the_start_ends_it(tiny: Path) -> None:
    engine = vllm_engine(tiny)
    starting = asyncio.ensure_future(engine.start())
    await asyncio.sleep(0)
    await stopped_within(engine, 10)
    with pytest.raises(EngineUnavailable, match="stopped"):
        await asyncio.wait_for(starting, 30)


def services(tiny: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", FRONT, str(tiny)],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def line(process: "subprocess.Popen[str]", first_word: str) -> list[str]:
    """The next line that begins with the word."""
    assert process.stdout is not None
    for said in process.stdout:
        if said.split()[:1] == [first_word]:
            return said.split()[1:]
    raise AssertionError(f"the front ended before it said {first_word!r}")


def test_ctrl_c_lets_the_front_drain_and_a_killed_front_leaves_nothing(tiny: Path) -> None:
    with services(tiny) as process:
        pids = [int(pid) for pid in line(process, "ready")]
        assert len(pids) >= 2
        os.killpg(process.pid, signal.SIGINT)  # what a terminal's Ctrl-C does
        assert line(process, "drained")
        process.kill()
    wait_until(lambda: not any(psutil.pid_exists(pid) for pid in pids), 30, "orphans are killed")


def test_a_front_killed_during_the_start_leaves_nothing(tiny: Path) -> None:
    with services(tiny) as process:
        line(process, "starting")
        owner = psutil.Process(process.pid)
        wait_until(
            lambda: any("spawn_main" in command_line(c) for c in owner.children()),
            60,
            "the engine's first process appears",
        )
        process.kill()


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"max_modle_len": 100}, r"args.max_modle_len: vLLM has no such.*'max_model_len'"),
        ({"max_model_len": "many"}, "max_model_len"),
        ({"max_model_len": 10**7}, "10000000"),
        ({"kv_cache_memory_bytes": 1000}, "memory"),
    ],
    ids=["misspelt", "mistyped", "too long for the model", "no room for the cache"],
)
async def test_a_start_that_fails_says_why_in_words(
    tiny: Path, arguments: dict[str, Any], why: str
) -> None:
    engine = vllm_engine(tiny, **arguments)
    with pytest.raises(EngineUnavailable, match=why):
        await engine.start()
    await stopped_within(engine, 10)


@pytest.mark.parametrize("missing", ["model.safetensors", "config.json"])
async def test_a_folder_without_weights_is_named(tmp_path: Path, missing: str) -> None:
    folder = make_llama(tmp_path / "broken")
    (folder / missing).unlink()
    engine = vllm_engine(folder)
    with pytest.raises(EngineUnavailable, match="broken"):
        await engine.start()
    await engine.stop()
