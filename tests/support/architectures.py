"""The architectures of the shipped aliases, shrunk: a config and the published checkpoints' own
tensor names for each, filled from a seed. Needs no torch."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from tokenizers import Tokenizer

from engines.testing.tiny import CONTEXT_TOKENS, write_json, write_weights

Shapes: TypeAlias = Iterator[tuple[str, tuple[int, ...]]]
Config: TypeAlias = Mapping[str, Any]

HIDDEN, INTERMEDIATE, LAYERS, EXPERTS = 64, 64, 2, 4
_SHARED: Config = {
    "hidden_size": HIDDEN,
    "intermediate_size": INTERMEDIATE,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 32,
    "max_position_embeddings": CONTEXT_TOKENS,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
    "attention_bias": False,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
}
_MOE: Config = {
    "num_experts": EXPERTS,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
    "norm_topk_prob": True,
    "decoder_sparse_step": 1,
    "mlp_only_layers": [],
}
_LATENT: Config = {
    "num_key_value_heads": 2,
    "q_lora_rank": 32,
    "kv_lora_rank": 512,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
    "n_routed_experts": EXPERTS,
    "n_shared_experts": 1,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
    "first_k_dense_replace": 1,
    "moe_layer_freq": 1,
    "n_group": 1,
    "topk_group": 1,
    "topk_method": "noaux_tc",
    "scoring_func": "sigmoid",
    "norm_topk_prob": True,
    "routed_scaling_factor": 2.5,
}
"""Latent attention as published: its kernels know no other widths."""
CONFIGS: Mapping[str, Config] = {
    "MixtralForCausalLM": {
        "model_type": "mixtral",
        "num_local_experts": EXPERTS,
        "num_experts_per_tok": 2,
    },
    # Linear attention's widths as published: its kernels know no others.
    "Qwen3NextForCausalLM": {
        "model_type": "qwen3_next",
        **_MOE,
        "full_attention_interval": 2,
        "layer_types": ["linear_attention", "full_attention"],
        "linear_num_key_heads": 1,
        "linear_num_value_heads": 2,
        "linear_key_head_dim": 128,
        "linear_value_head_dim": 128,
        "linear_conv_kernel_dim": 4,
        "shared_expert_intermediate_size": 32,
        "partial_rotary_factor": 0.25,
    },
    "Qwen3MoeForCausalLM": {"model_type": "qwen3_moe", **_MOE},
    "Qwen3ForCausalLM": {"model_type": "qwen3"},
    "DeepseekV3ForCausalLM": {"model_type": "deepseek_v3", **_LATENT},
    "LlamaForCausalLM": {"model_type": "llama", "mlp_bias": False},
    "Llama4ForCausalLM": {
        "model_type": "llama4_text",
        "intermediate_size_mlp": INTERMEDIATE,
        "num_local_experts": 1,
        "num_experts_per_tok": 1,
        "interleave_moe_layer_step": 0,
        "moe_layers": [],
        "use_qk_norm": True,
        "no_rope_layers": [1, 0],
        "attention_chunk_size": 8192,
        "attn_temperature_tuning": False,
    },
}


def write_model(
    folder: Path, architecture: str, tokenizer: Tokenizer, eos: str, seed: int = 0, **config: Any
) -> None:
    """config.json, generation_config.json and the weights; the same seed gives the same bytes."""
    vocabulary = tokenizer.get_vocab_size()
    ends = {"eos_token_id": tokenizer.token_to_id(eos), "pad_token_id": tokenizer.token_to_id(eos)}
    whole = {
        "architectures": [architecture],
        **_SHARED,
        **CONFIGS[architecture],
        **ends,
        "bos_token_id": 0,
        "vocab_size": vocabulary,
        **config,
    }
    write_json(folder / "config.json", whole)
    write_json(folder / "generation_config.json", ends)
    write_weights(folder / "model.safetensors", shapes(architecture, whole), seed)


def shapes(architecture: str, config: Config) -> Shapes:
    """Every tensor of a checkpoint, by its published name."""
    yield "model.embed_tokens.weight", (config["vocab_size"], HIDDEN)
    yield "model.norm.weight", (HIDDEN,)
    yield "lm_head.weight", (config["vocab_size"], HIDDEN)
    for layer in range(LAYERS):
        at = f"model.layers.{layer}"
        yield f"{at}.input_layernorm.weight", (HIDDEN,)
        yield f"{at}.post_attention_layernorm.weight", (HIDDEN,)
        yield from _LAYERS[architecture](at, layer, config)


def _attention(at: str, config: Config, gates: int = 1) -> Shapes:
    wide = config["num_attention_heads"] * config["head_dim"]
    narrow = config["num_key_value_heads"] * config["head_dim"]
    yield f"{at}.self_attn.q_proj.weight", (wide * gates, HIDDEN)
    yield f"{at}.self_attn.k_proj.weight", (narrow, HIDDEN)
    yield f"{at}.self_attn.v_proj.weight", (narrow, HIDDEN)
    yield f"{at}.self_attn.o_proj.weight", (HIDDEN, wide)


def _norms(at: str, config: Config) -> Shapes:
    yield f"{at}.self_attn.q_norm.weight", (config["head_dim"],)
    yield f"{at}.self_attn.k_norm.weight", (config["head_dim"],)


def _mlp(at: str, width: int = INTERMEDIATE) -> Shapes:
    yield f"{at}.gate_proj.weight", (width, HIDDEN)
    yield f"{at}.up_proj.weight", (width, HIDDEN)
    yield f"{at}.down_proj.weight", (HIDDEN, width)


def _experts(at: str, config: Config) -> Shapes:
    yield f"{at}.mlp.gate.weight", (EXPERTS, HIDDEN)
    for expert in range(EXPERTS):
        yield from _mlp(f"{at}.mlp.experts.{expert}", config["moe_intermediate_size"])


def _mixtral(at: str, layer: int, config: Config) -> Shapes:
    yield from _attention(at, config)
    yield f"{at}.block_sparse_moe.gate.weight", (EXPERTS, HIDDEN)
    for expert in range(EXPERTS):
        expert_at = f"{at}.block_sparse_moe.experts.{expert}"
        yield f"{expert_at}.w1.weight", (INTERMEDIATE, HIDDEN)
        yield f"{expert_at}.w2.weight", (HIDDEN, INTERMEDIATE)
        yield f"{expert_at}.w3.weight", (INTERMEDIATE, HIDDEN)


def _qwen3(at: str, layer: int, config: Config) -> Shapes:
    yield from _attention(at, config)
    yield from _norms(at, config)
    yield from _mlp(f"{at}.mlp")


def _qwen3_moe(at: str, layer: int, config: Config) -> Shapes:
    yield from _attention(at, config)
    yield from _norms(at, config)
    yield from _experts(at, config)


def _qwen3_next(at: str, layer: int, config: Config) -> Shapes:
    if config["layer_types"][layer] == "full_attention":
        yield from _attention(at, config, gates=2)
        yield from _norms(at, config)
    else:
        yield from _linear_attention(f"{at}.linear_attn", config)
    yield from _experts(at, config)
    yield from _mlp(f"{at}.mlp.shared_expert", config["shared_expert_intermediate_size"])
    yield f"{at}.mlp.shared_expert_gate.weight", (1, HIDDEN)


def _linear_attention(at: str, config: Config) -> Shapes:
    heads = config["linear_num_value_heads"]
    keys = config["linear_num_key_heads"] * config["linear_key_head_dim"]
    values = heads * config["linear_value_head_dim"]
    yield f"{at}.in_proj_qkvz.weight", (2 * keys + 2 * values, HIDDEN)
    yield f"{at}.in_proj_ba.weight", (2 * heads, HIDDEN)
    yield f"{at}.conv1d.weight", (2 * keys + values, 1, config["linear_conv_kernel_dim"])
    yield f"{at}.dt_bias", (heads,)
    yield f"{at}.A_log", (heads,)
    yield f"{at}.norm.weight", (config["linear_value_head_dim"],)
    yield f"{at}.out_proj.weight", (HIDDEN, values)


def _deepseek(at: str, layer: int, config: Config) -> Shapes:
    heads, rope = config["num_attention_heads"], config["qk_rope_head_dim"]
    nope, value = config["qk_nope_head_dim"], config["v_head_dim"]
    queries, latent = config["q_lora_rank"], config["kv_lora_rank"]
    yield f"{at}.self_attn.q_a_proj.weight", (queries, HIDDEN)
    yield f"{at}.self_attn.q_a_layernorm.weight", (queries,)
    yield f"{at}.self_attn.q_b_proj.weight", (heads * (nope + rope), queries)
    yield f"{at}.self_attn.kv_a_proj_with_mqa.weight", (latent + rope, HIDDEN)
    yield f"{at}.self_attn.kv_a_layernorm.weight", (latent,)
    yield f"{at}.self_attn.kv_b_proj.weight", (heads * (nope + value), latent)
    yield f"{at}.self_attn.o_proj.weight", (HIDDEN, heads * value)
    if layer < config["first_k_dense_replace"]:
        yield from _mlp(f"{at}.mlp")
        return
    yield from _experts(at, config)
    yield f"{at}.mlp.gate.e_score_correction_bias", (EXPERTS,)
    yield from _mlp(f"{at}.mlp.shared_experts", config["moe_intermediate_size"])


def _llama(at: str, layer: int, config: Config) -> Shapes:
    yield from _attention(at, config)
    yield from _mlp(f"{at}.mlp")


def _llama4(at: str, layer: int, config: Config) -> Shapes:
    yield from _attention(at, config)
    yield from _mlp(f"{at}.feed_forward")


_LAYERS: Mapping[str, Callable[[str, int, Config], Shapes]] = {
    "MixtralForCausalLM": _mixtral,
    "Qwen3NextForCausalLM": _qwen3_next,
    "Qwen3MoeForCausalLM": _qwen3_moe,
    "Qwen3ForCausalLM": _qwen3,
    "DeepseekV3ForCausalLM": _deepseek,
    "LlamaForCausalLM": _llama,
    "Llama4ForCausalLM": _llama4,
}
