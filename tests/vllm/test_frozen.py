"""A real vLLM whose engine process is stopped while streams run: found within ten seconds."""

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from engines.base import EngineHung
from engines.testing.tiny import make_llama
from tests.support.engine_fixtures import answer, ask, vllm_engine

pytestmark = [pytest.mark.anyio, pytest.mark.vllm]


async def test_a_frozen_engine_is_found_soon_while_streams_wait(
    tmp_path: Path,
) -> None:
    engine = vllm_engine(make_llama(tmp_path / "tiny"))
    await engine.start()
    streams: list[Any] = []
    try:
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
        assert time.monotonic() - began < 8
    finally:
        await engine.stop()
    results = await asyncio.gather(*streams, return_exceptions=True)
    assert all(isinstance(result, Exception) for result in results)


def core_pid(engine: Any) -> int:
    [pid] = [p for p in engine.pids if psutil.Process(p).ppid() == os.getpid()]
    return int(pid)
