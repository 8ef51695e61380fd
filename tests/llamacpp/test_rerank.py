"""Rerankers on llama.cpp: a cross-encoder's scores are transformers' own, and so vLLM's."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from engines.base import (
    ContextLengthExceeded,
    EngineBroken,
    InvalidRequest,
    PairOptions,
    TextPair,
    Truncation,
)
from engines.llamacpp.engine import LlamacppEngine
from engines.llamacpp.reranking import GROUP_PAIRS
from engines.registry.spec import EngineSpec
from engines.weights.packaged_model import gguf_path
from tests.support.conforming import rerank_results, unmet
from tests.support.tiny_rerankers import (
    CONTEXT_TOKENS,
    make_cross_encoder,
    make_generative,
    make_generative_gguf,
    make_gguf,
    qwen3_prompt,
    yes_against_no,
)

pytestmark = [pytest.mark.anyio, pytest.mark.slow]
QUERY = "where is oslo?"
PAIRS = [TextPair(QUERY, document) for document in ("oslo is a city", "fish", "bergen")]
SCORES = (0.90236, 0.89641, 0.89939)
"""transformers' of the seeded weights, in float32."""


def reranker(gguf: Path) -> LlamacppEngine:
    args = {"cpuparams.n_threads": 1, "cpuparams_batch.n_threads": 1}
    return LlamacppEngine(
        EngineSpec(kind="llamacpp", source=str(gguf), task="rerank", args=args), gguf
    )


@pytest.fixture(scope="module")
async def engine(
    tmp_path_factory: pytest.TempPathFactory, anyio_backend: str
) -> AsyncIterator[LlamacppEngine]:
    folder = tmp_path_factory.mktemp("cross-encoder")
    made = reranker(make_gguf(make_cross_encoder(folder, kinds=1), folder / "tiny.gguf"))
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


async def test_the_scores_are_transformers_own(engine: Any) -> None:
    scores = await engine.score("r", PAIRS, PairOptions())
    assert [score.value for score in scores] == pytest.approx(SCORES, abs=1e-3)
    assert [score.prompt_tokens for score in scores] == [26, 19, 21]


async def test_many_pairs_of_several_queries_keep_their_order(engine: Any) -> None:
    pairs = [*PAIRS * GROUP_PAIRS, TextPair("fish", "fish"), *PAIRS]
    values = [score.value for score in await engine.score("m", pairs, PairOptions())]
    assert values[: 3 * GROUP_PAIRS] == pytest.approx([*SCORES] * GROUP_PAIRS, abs=1e-3)
    assert values[-3:] == pytest.approx(SCORES, abs=1e-3)


async def test_the_document_is_cut_and_never_the_query(engine: Any) -> None:
    pair = [TextPair(QUERY, "oslo bergen")]
    for options, document in (
        (PairOptions(most_document_tokens=4), "oslo"),
        (PairOptions(truncation=Truncation(19, keeps_end=False)), "oslo"),
        (PairOptions(truncation=Truncation(21)), "bergen"),
    ):
        [cut] = await engine.score("c", pair, options)
        [same] = await engine.score("s", [TextPair(QUERY, document)], PairOptions())
        assert cut.prompt_tokens == same.prompt_tokens
        assert cut.value == pytest.approx(same.value, abs=1e-3)
    long = [TextPair("q", "a " * 200_000)]
    [cut] = await engine.score("l", long, PairOptions(truncation=Truncation(-1)))
    assert cut.prompt_tokens == CONTEXT_TOKENS
    with pytest.raises(InvalidRequest, match="leaves no token of the document"):
        await engine.score("n", pair, PairOptions(truncation=Truncation(15)))


async def test_what_cannot_be_read_is_refused_by_its_index(engine: Any) -> None:
    with pytest.raises(ContextLengthExceeded) as caught:
        await engine.score("r", [*PAIRS, TextPair(QUERY, "a " * 200)], PairOptions())
    assert (caught.value.input_index, caught.value.prompt_tokens) == (3, 215)
    for options, wrong in (
        (PairOptions(context_tokens=20), PAIRS),
        (PairOptions(), [TextPair("q", "\ud800")]),
        (PairOptions(instruction="x"), PAIRS),
    ):
        with pytest.raises(InvalidRequest) as refused:
            await engine.score("r", wrong, options)
        assert refused.value.input_index == 0
    with pytest.raises(InvalidRequest, match="makes no embeddings"):
        await engine.embed("e", ["a"])
    [empty] = await engine.score("e", [TextPair(QUERY, "")], PairOptions())
    assert empty.prompt_tokens == 15


async def test_it_keeps_the_contract_over_http(engine: Any, tmp_path: Path) -> None:
    results = await rerank_results(engine, tmp_path, CONTEXT_TOKENS)
    assert unmet(results) == {}
    assert {result.verdict for result in results} == {"pass"}


async def test_a_generative_rerankers_score_is_yes_against_no(tmp_path: Path) -> None:
    folder = make_generative(tmp_path)
    template = qwen3_prompt("{query}", "{document}", "Find cities")
    made = reranker(make_generative_gguf(folder, tmp_path / "tiny.gguf", template))
    await made.start()
    try:
        scores = await made.score("r", PAIRS, PairOptions())
    finally:
        await made.stop()
    prompts = [qwen3_prompt(*pair, "Find cities") for pair in PAIRS]
    expected, counts = zip(*(yes_against_no(folder, each) for each in prompts), strict=True)
    assert [score.value for score in scores] == pytest.approx(expected, abs=0.01)
    assert sum(score.prompt_tokens for score in scores) == sum(counts)


async def test_a_language_model_is_no_reranker() -> None:
    with pytest.raises(EngineBroken, match="no classifier"):
        await reranker(gguf_path()).start()
