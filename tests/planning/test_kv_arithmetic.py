"""KV cache by hand: what each documented architecture keeps of a token, against the facts."""

import pytest

from engines.planning.config import facts_of
from engines.planning.facts import FactsUnknown, ModelFacts
from engines.planning.shipped import shipped_facts, shipped_names

BOTH, BYTES = 2, 2
"""Key and value; of an element in 16 bits."""
BY_HAND = {
    # layers x KV heads x head x (key and value) x 2 bytes
    "mistralai/Mixtral-8x7B-Instruct-v0.1": 32 * 8 * 128 * BOTH * BYTES,
    "Qwen/Qwen3-235B-A22B-Thinking-2507": 94 * 4 * 128 * BOTH * BYTES,
    "Qwen/Qwen3-235B-A22B-Instruct-2507": 94 * 4 * 128 * BOTH * BYTES,
    "meta-llama/Llama-3.1-405B-Instruct-FP8": 126 * 8 * 128 * BOTH * BYTES,
    "Qwen/Qwen3-Coder-480B-A35B-Instruct": 62 * 8 * 128 * BOTH * BYTES,
    "Qwen/Qwen3-VL-8B-Instruct": 36 * 8 * 128 * BOTH * BYTES,
    "meta-llama/Llama-Guard-4-12B": 48 * 8 * 128 * BOTH * BYTES,
    # of 48 layers every fourth looks back; the others keep a state
    "Qwen/Qwen3-Next-80B-A3B-Instruct": 48 // 4 * 2 * 256 * BOTH * BYTES,
    "Qwen/Qwen3-Next-80B-A3B-Thinking": 48 // 4 * 2 * 256 * BOTH * BYTES,
    # layers x (compressed key and value + rotated part) x 2 bytes, one for all heads
    "deepseek-ai/DeepSeek-V3-0324": 61 * (512 + 64) * BYTES,
    "deepseek-ai/DeepSeek-R1-0528": 61 * (512 + 64) * BYTES,
    "moonshotai/Kimi-K2-Instruct-0905": 61 * (512 + 64) * BYTES,
}
WRITTEN = {131_072, 24_576, 192_512, 70_272, 516_096, 253_952, 147_456, 196_608}


def facts(source: str) -> ModelFacts:
    found = shipped_facts(source)
    assert found is not None
    return found


@pytest.mark.parametrize(("source", "by_hand"), BY_HAND.items())
def test_kv_bytes_of_a_token_are_those_written_by_hand(source: str, by_hand: int) -> None:
    assert by_hand in WRITTEN
    assert facts(source).token_bytes(BYTES) == by_hand
    assert facts(source).token_bytes(1) == by_hand // 2  # fp8


def test_every_number_of_the_list_is_some_models() -> None:
    assert set(BY_HAND.values()) == WRITTEN


def test_a_hybrid_keeps_a_state_of_one_size_for_any_length() -> None:
    hybrid = facts("Qwen/Qwen3-Next-80B-A3B-Instruct")
    convolution = 3 * (16 * 128 + 16 * 128 + 32 * 128)
    matrix = 32 * 128 * 128
    state = 36 * (convolution + matrix) * BYTES
    for tokens in (16, 32_768):
        assert hybrid.sequence_bytes(tokens, BYTES) == tokens * 24_576 + state
    assert hybrid.sequence_bytes(16, 1) == 16 * 12_288 + state  # fp8 is for the cache alone


@pytest.mark.parametrize(("cards", "heads"), [(1, 4), (2, 2), (4, 1), (8, 1)], ids=lambda n: str(n))
def test_cards_share_kv_heads_and_never_less_than_one(cards: int, heads: int) -> None:
    moe = facts("Qwen/Qwen3-235B-A22B-Instruct-2507")
    assert moe.token_bytes(BYTES, cards) == 94 * heads * 128 * BOTH * BYTES


@pytest.mark.parametrize("cards", [1, 8])
def test_a_latent_cache_is_whole_on_every_card(cards: int) -> None:
    assert facts("deepseek-ai/DeepSeek-V3-0324").token_bytes(BYTES, cards) == 70_272


SLIDING = {
    **{"num_hidden_layers": 6, "num_attention_heads": 4, "num_key_value_heads": 2},
    **{"head_dim": 32, "hidden_size": 64, "vocab_size": 256, "sliding_window": 512},
}
LAYER = 2 * 32 * BOTH * BYTES
"""A token in one layer of SLIDING."""


@pytest.mark.parametrize(
    ("more", "whole"),
    [
        ({}, 0),
        ({"use_sliding_window": False}, 6),
        ({"sliding_window_pattern": 6}, 1),
        ({"layer_types": ["sliding_attention"] * 4 + ["full_attention"] * 2}, 2),
        ({"sliding_window": None}, 6),
    ],
    ids=["all slide", "switched off", "every sixth", "named", "none"],
)
def test_a_window_keeps_its_last_tokens_alone(more: dict[str, object], whole: int) -> None:
    model = facts_of("m", {**SLIDING, **more}, {"BF16": 1}, 2)
    assert model.token_bytes(BYTES) == 6 * LAYER
    assert model.sequence_bytes(512, BYTES) == 512 * 6 * LAYER
    long = (whole * 4096 + (6 - whole) * 512) * LAYER
    assert model.sequence_bytes(4096, BYTES) == long


def test_tokens_come_in_whole_blocks() -> None:
    model = facts_of("m", {**SLIDING, "sliding_window": None}, {"BF16": 1}, 2)
    assert model.sequence_bytes(1, BYTES) == 16 * 6 * LAYER
    assert model.sequence_bytes(17, BYTES, 1, 128) == 128 * 6 * LAYER


def test_an_encoder_keeps_nothing() -> None:
    model = facts_of("m", {**SLIDING, "model_type": "bert"}, {"F32": 1}, 4)
    assert (model.token_bytes(BYTES), model.sequence_bytes(4096, BYTES)) == (0, 0)


@pytest.mark.parametrize("missing", ["num_hidden_layers", "num_attention_heads", "vocab_size"])
def test_a_config_without_sizes_is_unknown(missing: str) -> None:
    config = {name: value for name, value in SLIDING.items() if name != missing}
    with pytest.raises(FactsUnknown, match=missing):
        facts_of("m", config, {"BF16": 1}, 2)


@pytest.mark.parametrize("value", [0, "many", [], {"a": 1}])
def test_a_config_of_nonsense_is_unknown(value: object) -> None:
    config = {**SLIDING, "num_attention_heads": value, "head_dim": None}
    with pytest.raises(FactsUnknown):
        facts_of("m", config, {"BF16": 1}, 2)


def test_all_that_ships_is_read() -> None:
    assert all(facts(name).layers for name in shipped_names())
