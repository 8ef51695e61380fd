"""Rerankers on vLLM, beside transformers' own numbers: a cross-encoder and a generative one."""

import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from engines.base import (
    ContextLengthExceeded,
    EngineUnavailable,
    InvalidRequest,
    PairOptions,
    TextPair,
    Truncation,
)
from engines.registry.spec import EngineSpec
from engines.testing.tiny import write_json
from tests.support.conforming import rerank_results, unmet
from tests.support.tiny_rerankers import (
    CONTEXT_TOKENS,
    make_cross_encoder,
    make_generative,
    qwen3_prompt,
    yes_against_no,
)

pytestmark = [pytest.mark.anyio, pytest.mark.vllm, pytest.mark.slow]
QUERY = "where is oslo?"
DOCUMENTS = ("oslo is a city", "fish", "bergen")
PAIRS = [TextPair(QUERY, document) for document in DOCUMENTS]
ONE_KIND = (0.90236, 0.89641, 0.89939)
"""transformers' scores of the seeded model that tells no kinds of tokens apart."""
CLOSE = 3e-3
"""bfloat16 where the machine has it."""


def reranker(folder: Path, **args: Any) -> Any:
    from engines.vllm.engine import VllmEngine

    spec = EngineSpec(kind="vllm", source=str(folder), task="rerank", args=args)
    return VllmEngine(spec, str(folder))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_cross_encoder(tmp_path_factory.mktemp("cross-encoder"))


@pytest.fixture(scope="module")
async def engine(folder: Path, anyio_backend: str) -> AsyncIterator[Any]:
    made = reranker(folder)
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


def transformers_scores(folder: Path, pairs: Sequence[TextPair]) -> list[float]:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        logits = [model(**tokenizer(*pair, return_tensors="pt")).logits.item() for pair in pairs]
    return [float(each) for each in torch.tensor(logits).sigmoid()]


async def test_a_cross_encoders_scores_are_transformers_own(engine: Any, folder: Path) -> None:
    scores = await engine.score("r", PAIRS, PairOptions())
    values = [score.value for score in scores]
    assert values == pytest.approx(transformers_scores(folder, PAIRS), abs=CLOSE)
    assert [score.prompt_tokens for score in scores] == [26, 19, 21]  # [CLS] 12 [SEP] n [SEP]


async def test_many_pairs_keep_their_order(engine: Any) -> None:
    one = [score.value for score in await engine.score("r", PAIRS, PairOptions())]
    many = [score.value for score in await engine.score("m", PAIRS * 50, PairOptions())]
    assert many == pytest.approx(one * 50, abs=CLOSE)


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
        assert cut.value == pytest.approx(same.value, abs=CLOSE)
    [long] = await engine.score("l", [TextPair("q", "a " * 200_000)], PairOptions(
        truncation=Truncation(-1)))  # fmt: skip
    assert long.prompt_tokens == CONTEXT_TOKENS
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


async def test_a_generative_rerankers_score_is_yes_against_no(tmp_path: Path) -> None:
    folder = make_generative(tmp_path)
    made = reranker(folder, max_model_len=2048, kv_cache_memory_bytes=2**26)
    await made.start()
    try:
        options = PairOptions(instruction="Find cities")
        scores = await made.score("r", PAIRS, options)
        by_default = await made.score("d", PAIRS, PairOptions())
    finally:
        await made.stop()
    prompts = [qwen3_prompt(*pair, "Find cities") for pair in PAIRS]
    expected, counts = zip(*(yes_against_no(folder, each) for each in prompts), strict=True)
    assert [score.value for score in scores] == pytest.approx(expected, abs=0.02)
    assert [score.prompt_tokens for score in scores] == list(counts)
    assert all(a.prompt_tokens < b.prompt_tokens for a, b in zip(scores, by_default, strict=True))


async def test_kinds_that_a_model_has_no_row_for_are_not_sent(tmp_path: Path) -> None:
    folder = make_cross_encoder(tmp_path, kinds=1)
    settings = json.loads((folder / "tokenizer_config.json").read_text("utf-8"))
    settings["model_input_names"] = ["input_ids", "token_type_ids", "attention_mask"]
    write_json(folder / "tokenizer_config.json", settings)
    made = reranker(folder)
    await made.start()
    try:
        values = [score.value for score in await made.score("r", PAIRS, PairOptions())]
    finally:
        await made.stop()
    assert values == pytest.approx(ONE_KIND, abs=CLOSE)


async def test_a_model_of_several_labels_does_not_start(tmp_path: Path) -> None:
    made = reranker(make_cross_encoder(tmp_path, labels=3))
    with pytest.raises(EngineUnavailable, match="3 labels"):
        await made.start()
    await made.stop()


async def test_it_keeps_the_contract_over_http(engine: Any, tmp_path: Path) -> None:
    results = await rerank_results(engine, tmp_path, CONTEXT_TOKENS)
    assert unmet(results) == {}
    assert {result.verdict for result in results} == {"pass"}
