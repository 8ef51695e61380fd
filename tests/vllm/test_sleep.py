"""A vLLM engine gives its card back for a while, where it was started for that."""

from pathlib import Path

import pytest

from engines.base import EngineDead, EngineUnavailable
from engines.testing.tiny import make_llama
from tests.support.engine_fixtures import answer, ask, count, vllm_engine

pytestmark = [pytest.mark.anyio, pytest.mark.vllm]


async def test_an_engine_not_started_for_it_says_so_and_goes_on(tmp_path: Path) -> None:
    engine = vllm_engine(make_llama(tmp_path))
    with pytest.raises(EngineDead, match="not running"):
        await engine.sleep()
    await engine.start()
    try:
        with pytest.raises(EngineUnavailable, match="enable_sleep_mode: true"):
            await engine.sleep()
        await engine.wake()
        assert count(await answer(engine, ask(max_tokens=3, ignore_eos=True))) == 3
    finally:
        await engine.stop()
