"""A model's config.json and what its files hold -> ModelFacts."""

from collections.abc import Mapping
from typing import Any

from engines.planning.facts import FLOATS, Experts, FactsUnknown, ModelFacts
from engines.planning.kv_layers import KvLayers
from engines.planning.lora import lora_sides

ENCODERS = ("bert", "roberta", "xlm-roberta", "mpnet", "electra", "modernbert", "nomic_bert")
"""Model types that keep nothing of a sequence."""
_DTYPES = {"bfloat16": "BF16", "float16": "F16", "half": "F16", "float32": "F32", "float": "F32"}
_LAYER_KINDS = {
    "full_attention": "full",
    "attention": "full",
    "sliding_attention": "window",
    "chunked_attention": "window",
    "linear_attention": "state",
}


def facts_of(
    name: str, config: Mapping[str, Any], elements: Mapping[str, int], stored_bytes: int
) -> ModelFacts:
    """`elements` by dtype, without those that only speculative decoding reads. Raises
    FactsUnknown for a config.json that does not say the sizes."""
    try:
        text = {**config, **(config.get("text_config") or config.get("llm_config") or {})}
        return _facts(name, text, elements, stored_bytes)
    except (KeyError, TypeError, ValueError, AttributeError, ZeroDivisionError) as error:
        raise FactsUnknown(f"the config.json of {name} does not say its sizes: {error!r}") from None


def has_linear_attention(config: Mapping[str, Any]) -> bool:
    """Of a model's config.json."""
    text = config.get("text_config") or config
    named = text.get("layer_types") or ()
    return "linear_attention" in named or bool(text.get("linear_num_value_heads"))


def dtype_of(word: Any) -> str | None:
    """bfloat16, torch.bfloat16 -> BF16; None for any other word."""
    return _DTYPES.get(str(word).removeprefix("torch."))


def _dtype(text: Mapping[str, Any], elements: Mapping[str, int]) -> str:
    """The config's word, else that of most of the stored floats."""
    said = dtype_of(text.get("torch_dtype") or text.get("dtype"))
    stored = sorted(FLOATS & set(elements), key=lambda name: -elements[name])
    return said or next(iter(stored), "BF16")


def _facts(
    name: str, text: Mapping[str, Any], elements: Mapping[str, int], stored_bytes: int
) -> ModelFacts:
    quantised = text.get("quantization_config") or text.get("compression_config")
    heads = int(text["num_attention_heads"])
    experts = _experts(text)
    return ModelFacts(
        name=name,
        elements=dict(elements),
        stored_bytes=stored_bytes,
        dtype=_dtype(text, elements),
        is_quantised=bool(quantised),
        block=int(((quantised or {}).get("weight_block_size") or [0])[0]),
        layers=int(text["num_hidden_layers"]),
        hidden=int(text["hidden_size"]),
        heads=heads,
        kv=_kv_layers(text),
        vocabulary=int(text["vocab_size"]),
        embeddings=1 if text.get("tie_word_embeddings") or _is_encoder(text) else 2,
        mlp_width=int(text.get("intermediate_size") or 0),
        experts=experts,
        context_tokens=int(text.get("max_position_embeddings") or 0),
        rope_elements=_rope_elements(text),
        whole_elements=_whole_elements(text, experts),
        divided_heads=_divided_heads(text),
        lora=lora_sides(text, experts),
    )


def _is_encoder(text: Mapping[str, Any]) -> bool:
    return text.get("model_type") in ENCODERS


def _head_elements(text: Mapping[str, Any]) -> int:
    return int(text.get("head_dim") or text["hidden_size"] // text["num_attention_heads"])


def _kv_layers(text: Mapping[str, Any]) -> tuple[KvLayers, ...]:
    layers = int(text["num_hidden_layers"])
    if _is_encoder(text):
        return ()
    if text.get("kv_lora_rank"):
        latent = int(text["kv_lora_rank"]) + int(text["qk_rope_head_dim"])
        return (KvLayers(kind="latent", count=layers, head_elements=latent),)
    kinds = _kinds(text, layers)
    groups = [_group(text, kind, kinds.count(kind)) for kind in dict.fromkeys(kinds)]
    return tuple(groups)


def _group(text: Mapping[str, Any], kind: str, count: int) -> KvLayers:
    if kind == "state":
        return KvLayers(kind="state", count=count, state_elements=_state_elements(text))
    heads = int(text.get("num_key_value_heads") or text["num_attention_heads"])
    both = 2 * _head_elements(text)
    if kind == "full":
        return KvLayers(kind="full", count=count, heads=heads, head_elements=both)
    window = int(text.get("sliding_window") or text["attention_chunk_size"])
    return KvLayers(
        kind="window", count=count, heads=heads, head_elements=both, window_tokens=window
    )


def _kinds(text: Mapping[str, Any], layers: int) -> list[str]:
    """Each layer's kind, as the config says it, or as its family does."""
    if named := text.get("layer_types"):
        return [_LAYER_KINDS[kind] for kind in named]
    if text.get("linear_num_value_heads"):
        every = int(text.get("full_attention_interval") or 4)
        return ["full" if (i + 1) % every == 0 else "state" for i in range(layers)]
    if text.get("attention_chunk_size"):
        every = int(text.get("no_rope_layer_interval") or 4)
        return ["full" if (i + 1) % every == 0 else "window" for i in range(layers)]
    if not text.get("sliding_window") or text.get("use_sliding_window") is False:
        return ["full"] * layers
    every = int(text.get("sliding_window_pattern") or layers + 1)
    return ["full" if (i + 1) % every == 0 else "window" for i in range(layers)]


def _state_elements(text: Mapping[str, Any]) -> int:
    """Gated delta net: the last inputs of a convolution, and a matrix a value head."""
    keys = int(text["linear_num_key_heads"]) * int(text["linear_key_head_dim"])
    value_heads, value = int(text["linear_num_value_heads"]), int(text["linear_value_head_dim"])
    convolved = (2 * keys + value_heads * value) * (int(text["linear_conv_kernel_dim"]) - 1)
    return convolved + value_heads * value * int(text["linear_key_head_dim"])


def _experts(text: Mapping[str, Any]) -> Experts | None:
    names = ("num_local_experts", "num_experts", "n_routed_experts")
    counts = [int(text[name]) for name in names if text.get(name)]
    if not counts or text.get("moe_layers") == []:
        return None
    dense = int(text.get("first_k_dense_replace") or 0)
    return Experts(
        count=counts[0],
        chosen=int(text.get("num_experts_per_tok") or 1),
        width=int(text.get("moe_intermediate_size") or text["intermediate_size"]),
        layers=int(text["num_hidden_layers"]) - dense,
    )


def _rope_elements(text: Mapping[str, Any]) -> int:
    if _is_encoder(text):
        return 0
    rotated = text.get("qk_rope_head_dim") or _head_elements(text) * float(
        text.get("partial_rotary_factor") or 1
    )
    return int(text.get("max_position_embeddings") or 0) * int(rotated)


def _whole_elements(text: Mapping[str, Any], experts: Experts | None) -> int:
    hidden, layers = int(text["hidden_size"]), int(text["num_hidden_layers"])
    routers = experts.count * experts.layers * hidden if experts else 0
    if not text.get("kv_lora_rank"):
        return routers
    down = int(text.get("q_lora_rank") or 0) + int(text["kv_lora_rank"])
    return routers + layers * hidden * (down + int(text["qk_rope_head_dim"]))


def _divided_heads(text: Mapping[str, Any]) -> tuple[int, ...]:
    names = ("linear_num_key_heads", "linear_num_value_heads")
    return tuple(int(text[name]) for name in names if text.get(name))
