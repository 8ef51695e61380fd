"""A vLLM engine gives its card back for a while, where it was started for that."""

from pathlib import Path
from typing import Any

import pytest

from engines.base import EngineDead, EngineUnavailable
from tests.support.engine_fixtures import answer, ask, count, on, vllm_engine

pytestmark = pytest.mark.anyio


@pytest.mark.vllm
async def test_an_engine_that_does_not_run_cannot_sleep(tmp_path: Path) -> None:
    with pytest.raises(EngineDead, match="not running"):
        await vllm_engine(tmp_path).sleep()


@on("vllm-tiny")
async def test_an_engine_not_started_for_it_says_so_and_goes_on(engine: Any) -> None:
    with pytest.raises(EngineUnavailable, match="enable_sleep_mode: true"):
        await engine.sleep()
    await engine.wake()
    assert count(await answer(engine, ask(max_tokens=3, ignore_eos=True))) == 3
