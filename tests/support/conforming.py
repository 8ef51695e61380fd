"""The conformance kit, run from tests."""

import asyncio
from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import Any

from engines.base import Reasoning
from engines.registry.spec import EngineSpec, ModelSpec, ThoughtBounds
from engines.testing.scripted import ScriptedEngine
from server.conform.catalogue import all_checks
from server.conform.check import Result
from server.conform.run import run_checks
from server.conform.target import Options, reached
from tests.support.engine_fixtures import Lent
from tests.support.serving import Served, scripted, serving_here

VECTORS = EngineSpec(kind="scripted", source="vectors", task="embed")
MODELS = (
    scripted("mixtral-8x7b"),
    scripted(
        "thinking",
        text="Oslo.",
        reasoning=Reasoning(),
        reasoning_text="Norway, so Oslo.",
        thought_bounds=ThoughtBounds(budgets={"low": 1, "high": 16}, most=16),
    ),
    scripted("small", context_tokens=1200, output_tokens=1100, tool_parser="hermes"),
    scripted("seeing", images=4),
    ModelSpec(alias="vectors", engine=VECTORS, context_tokens=512, output_tokens=1),
    scripted("ears", task="transcribe"),
    scripted("ranks", task="rerank", context_tokens=512),
)
"""Every kind that the kit asks."""


def conform(
    server: Served, *, topics: Collection[str] = (), thorough: bool = False, **options: Any
) -> list[Result]:
    """The kit's results on a running server."""
    checks = [c for c in all_checks() if not topics or topic_of(c.id) in topics]
    asked = Options(base_url=f"{server.url}/v1", api_key=server.key, **options)
    with reached(asked) as target:
        return run_checks(checks, target, thorough=thorough)


async def rerank_results(engine: Any, folder: Path, context_tokens: int) -> list[Result]:
    """Of a running reranker's checks, beside a scripted model of text."""
    ranks = EngineSpec(kind="scripted", source="ranks", task="rerank")
    models = (
        scripted("m"),
        ModelSpec(alias="ranks", engine=ranks, context_tokens=context_tokens, output_tokens=0),
    )

    def build(spec: EngineSpec) -> Any:
        return Lent(engine) if spec.task == "rerank" else ScriptedEngine(spec)

    async with serving_here(folder, *models, build=build) as server:
        asked = partial(conform, server, topics=("rerank",), model="m", rerank_model="ranks")
        return await asyncio.to_thread(asked)


def topic_of(check_id: str) -> str:
    return check_id.split(".")[0]


def unmet(results: list[Result]) -> dict[str, str]:
    return {
        r.check.id: f"{r.verdict}: expected {r.expected}; saw {r.seen}"
        for r in results
        if r.verdict in ("fail", "differs")
    }
