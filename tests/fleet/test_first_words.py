"""What an engine is asked before its sleep and after."""

import pytest

from engines.fleet.first_words import FirstWords, first_words
from engines.registry.spec import EngineSpec, Task
from engines.testing.scripted import ScriptedEngine

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(("task", "numbers"), [("generate", 0), ("embed", 16), ("rerank", 1)])
async def test_each_kind_of_model_has_some(task: Task, numbers: int) -> None:
    spec = EngineSpec(kind="scripted", source="m", task=task)
    engine = ScriptedEngine(spec)
    await engine.start()
    try:
        before, after = await first_words(engine, spec), await first_words(engine, spec)
    finally:
        await engine.stop()
    assert before.is_same(after)
    assert len(before.vector) == numbers
    assert bool(before.token) is (task == "generate")
    assert not before.is_same(FirstWords(token="other", vector=(0.5,) * 3))
