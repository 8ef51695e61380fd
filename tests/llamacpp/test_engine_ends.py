"""The llama.cpp engine's start that cannot be, and its stop in the middle of a stream."""

from pathlib import Path

import psutil
import pytest

from engines.base import EngineDead, EngineUnavailable
from engines.llamacpp.engine import LlamacppEngine
from engines.registry.spec import EngineSpec
from engines.weights.packaged_model import gguf_path
from tests.support.engine_fixtures import ask, llamacpp_engine

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


async def test_stop_ends_streams_as_dead_and_leaves_no_thread() -> None:
    before = psutil.Process().num_threads()
    engine = llamacpp_engine(gguf_path(), n_ctx=1024, n_parallel=2)
    await engine.start()
    request = ask("Story", max_tokens=500, ignore_eos=True)
    stream = engine.generate(request, await engine.render(request))
    await anext(stream)
    await engine.stop()
    with pytest.raises(EngineDead):
        _ = [delta async for delta in stream]
    await engine.stop()
    with pytest.raises(EngineDead):
        await engine.check(1)
    assert psutil.Process().num_threads() <= before + 2  # the default executor's own


async def test_a_start_that_cannot_be_says_why(tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable, match="did you mean 'n_gpu_layers'"):
        await llamacpp_engine(gguf_path(), n_gpu_layer=3).start()
    with pytest.raises(EngineUnavailable, match="leave it out"):
        await llamacpp_engine(gguf_path(), port=8080).start()
    with pytest.raises(EngineUnavailable, match="did you mean 'long_prompt_tokens'"):
        await llamacpp_engine(gguf_path(), long_prompts_tokens=3).start()
    for wrong in (0, -1, 1.5, True, "many"):
        with pytest.raises(EngineUnavailable, match="a whole number from 1 on"):
            await llamacpp_engine(gguf_path(), long_prompt_tokens=wrong).start()
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"not a model")
    spec = EngineSpec(kind="llamacpp", source=str(broken))
    with pytest.raises(EngineUnavailable, match="does not begin with GGUF"):
        await LlamacppEngine(spec, broken).start()
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(gguf_path().read_bytes()[:30_000_000])
    with pytest.raises(EngineUnavailable, match="cannot load"):
        await LlamacppEngine(spec, cut).start()
