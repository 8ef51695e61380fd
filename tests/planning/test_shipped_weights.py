"""The shipped sizes, against parameter counts by hand and against what the hub publishes."""

import pytest

from engines.planning.engine_arguments import vllm_arguments
from engines.planning.need import on_cpu
from engines.planning.shipped import shipped_facts, shipped_names, smaller_builds
from engines.registry.registry import load_registry
from engines.registry.spec import EngineSpec
from tests.support.registries import SHIPPED


def mixture(hidden: int, experts: int, width: int) -> int:
    """Router and experts of one layer."""
    return experts * hidden + experts * 3 * hidden * width


def attention(hidden: int, heads: int, kv_heads: int, head: int) -> int:
    return 2 * hidden * heads * head + 2 * hidden * kv_heads * head


def ends(hidden: int, vocabulary: int) -> int:
    """Embedding, head and the last norm."""
    return 2 * vocabulary * hidden + hidden


MIXTRAL = 32 * (attention(4096, 32, 8, 128) + mixture(4096, 8, 14336) + 2 * 4096) + ends(
    4096, 32000
)
QWEN_235B = 94 * (
    attention(4096, 64, 4, 128) + mixture(4096, 128, 1536) + 2 * 4096 + 2 * 128
) + ends(4096, 151936)
QWEN_480B = 62 * (
    attention(6144, 96, 8, 128) + mixture(6144, 160, 2560) + 2 * 6144 + 2 * 128
) + ends(6144, 151936)
LLAMA_405B = 126 * (attention(16384, 128, 8, 128) + 3 * 16384 * 53248 + 2 * 16384) + ends(
    16384, 128256
)
PUBLISHED_BYTES = {
    "mistralai/Mixtral-8x7B-Instruct-v0.1": 93_405_585_408,
    "Qwen/Qwen3-235B-A22B-Instruct-2507": 470_187_269_120,
    "deepseek-ai/DeepSeek-V3-0324": 688_574_839_360,
    "Qwen/Qwen3-VL-8B-Instruct": 2 * 8_767_123_696,
}


@pytest.mark.parametrize(
    ("source", "parameters"),
    [
        ("mistralai/Mixtral-8x7B-Instruct-v0.1", MIXTRAL),
        ("Qwen/Qwen3-235B-A22B-Thinking-2507", QWEN_235B),
        ("Qwen/Qwen3-Coder-480B-A35B-Instruct", QWEN_480B),
        ("meta-llama/Llama-3.1-405B-Instruct", LLAMA_405B),
    ],
)
def test_parameters_are_those_of_the_shapes(source: str, parameters: int) -> None:
    facts = shipped_facts(source)
    assert facts is not None
    assert facts.total_elements == parameters
    assert facts.weights_bytes() == 2 * parameters


@pytest.mark.parametrize(("source", "published"), PUBLISHED_BYTES.items())
def test_a_download_is_as_large_as_published(source: str, published: int) -> None:
    facts = shipped_facts(source)
    assert facts is not None
    assert facts.stored_bytes == pytest.approx(published, rel=1e-6)


def test_what_speculative_decoding_alone_reads_is_downloaded_and_not_loaded() -> None:
    facts = shipped_facts("deepseek-ai/DeepSeek-V3-0324")
    assert facts is not None
    layer = facts.stored_bytes - facts.weights_bytes()
    assert 15.3e9 < layer < 15.5e9  # layer 61, with embedding and head of its own


def test_the_405b_in_fp8_keeps_attention_in_16_bits() -> None:
    facts = shipped_facts("meta-llama/Llama-3.1-405B-Instruct-FP8")
    assert facts is not None
    mlp = 3 * 16384 * 53248
    in_16_bits = LLAMA_405B - 124 * mlp  # of 126 layers the first and the last too
    assert facts.weights_bytes() == pytest.approx(124 * mlp + 2 * in_16_bits, rel=1e-3)


def test_every_alias_of_the_shipped_registry_is_known_offline() -> None:
    for profile in ("cuda", "small"):
        models = load_registry(SHIPPED, profile).models.values()
        assert [m.alias for m in models if shipped_facts(m.engine.source) is None] == []


def test_smaller_builds_are_smaller_and_of_the_same_shape() -> None:
    builds = [(name, small) for name in shipped_names() for small in smaller_builds(name)]
    assert len(builds) >= 7
    for name, small in builds:
        whole, part = shipped_facts(name), shipped_facts(small)
        assert whole is not None
        assert part is not None
        assert part.stored_bytes < 0.65 * whole.stored_bytes
        assert part.kv == whole.kv


def test_weights_made_fp8_leave_the_vocabulary_in_16_bits() -> None:
    facts = shipped_facts("mistralai/Mixtral-8x7B-Instruct-v0.1")
    assert facts is not None
    kept = 2 * 32000 * 4096 + 32 * 8 * 4096
    assert facts.weights_bytes(quantization="fp8") == MIXTRAL + kept


@pytest.mark.parametrize(
    ("source", "times"),
    [("Qwen/Qwen3-Next-80B-A3B-Instruct", 1), ("Qwen/Qwen3-235B-A22B-Instruct-2507", 2)],
)
def test_on_a_processor_linear_attention_stays_in_16_bits(source: str, times: int) -> None:
    """vLLM has it in no other form there."""
    facts, args = shipped_facts(source), vllm_arguments(EngineSpec(kind="vllm", source=source))
    assert facts is not None
    half, whole = (on_cpu(facts, args, dtype, 2**30).token_bytes for dtype in ("BF16", "F32"))
    assert whole == times * half


def test_in_float32_weights_are_twice_as_large_and_quantised_ones_are_not() -> None:
    whole = shipped_facts("Qwen/Qwen3-235B-A22B-Instruct-2507")
    part = shipped_facts("Qwen/Qwen3-235B-A22B-Instruct-2507-FP8")
    assert whole is not None
    assert part is not None
    assert whole.weights_bytes("F32") == 2 * whole.weights_bytes("BF16")
    assert part.weights_bytes("F32") < 1.02 * part.weights_bytes("BF16")
