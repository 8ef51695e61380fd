"""What vLLM takes for LoRA adapters: room for `max_loras` of `max_lora_rank` over every matrix of
the model, at the start and whatever comes, and copies of what it holds in the machine's memory.

By vllm/lora/layers of 0.32: lora_a_stacked (rank x in) and lora_b_stacked (out x rank) of each.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from engines.planning.facts import WIDTHS, Experts, LoraSides, ModelFacts
from engines.registry.adapters import USUAL_COUNT, USUAL_RANK
from engines.registry.vllm_names import by_keyword


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraRoom:
    """By an engine's arguments."""

    slots: int
    """Adapters in one batch."""
    copies: int
    """Adapters in the machine's memory."""
    rank: int
    dtype: str = "auto"
    is_sharded: bool = False


def lora_room(args: Mapping[str, Any]) -> LoraRoom | None:
    """None: without adapters."""
    given = by_keyword(args)
    if given.get("enable_lora") is not True:
        return None
    slots = _count(given.get("max_loras")) or USUAL_COUNT
    return LoraRoom(
        slots=slots,
        copies=max(slots, _count(given.get("max_cpu_loras"))),
        rank=_count(given.get("max_lora_rank")) or USUAL_RANK,
        dtype={"float16": "F16", "bfloat16": "BF16"}.get(str(given.get("lora_dtype")), "auto"),
        is_sharded=given.get("fully_sharded_loras") is True,
    )


class Spread(Protocol):
    """Of VllmArguments: on how many cards, and in what it computes."""

    @property
    def tensor_parallel(self) -> int: ...
    @property
    def pipeline_parallel(self) -> int: ...
    @property
    def dtype(self) -> str: ...
    @property
    def lora(self) -> LoraRoom | None: ...


def slots_bytes(facts: ModelFacts, args: Spread, dtype: str = "auto") -> int:
    """On each card; `dtype`: what it computes in where its arguments do not say."""
    room = args.lora
    if room is None:
        return 0
    tp = args.tensor_parallel
    sides = facts.lora.shared / tp + facts.lora.whole / (tp if room.is_sharded else 1)
    each = sides * room.rank * _width(facts, args, room, dtype)
    return int(room.slots * each / args.pipeline_parallel)


def copies_bytes(facts: ModelFacts, args: Spread, dtype: str = "auto") -> int:
    """Of the machine's memory, at most: where each is of the greatest rank and over everything."""
    room = args.lora
    if room is None:
        return 0
    sides = facts.lora.shared + facts.lora.whole
    return room.copies * sides * room.rank * _width(facts, args, room, dtype)


def lora_sides(text: Mapping[str, Any], experts: Experts | None) -> LoraSides:
    """By a config.json: every linear layer, embedding and head."""
    layers, hidden = int(text["num_hidden_layers"]), int(text["hidden_size"])
    inner = int(text.get("intermediate_size") or 0)
    of_layer = _latent(text, hidden) if text.get("kv_lora_rank") else _attention(text, hidden)
    dense = layers - (experts.layers if experts else 0)
    sides = of_layer.times(layers).plus(_mlp(hidden, inner).times(dense))
    if experts is not None:
        mixture = _mlp(hidden, experts.width).times(experts.count)
        shared = int(text.get("n_shared_experts") or 0) * experts.width
        shared = shared or int(text.get("shared_expert_intermediate_size") or 0)
        router = LoraSides(whole=hidden + experts.count)
        beside = _mlp(hidden, shared) if shared else LoraSides()
        sides = sides.plus(mixture.plus(router).plus(beside).times(experts.layers))
    return sides.plus(LoraSides(whole=2 * (int(text["vocab_size"]) + hidden)))


def _attention(text: Mapping[str, Any], hidden: int) -> LoraSides:
    """Query, key and value read the whole input on each card, the output's matrix its share."""
    heads = int(text["num_attention_heads"])
    head = int(text.get("head_dim") or hidden // heads)
    queries, keys = heads * head, int(text.get("num_key_value_heads") or heads) * head
    return LoraSides(whole=3 * hidden + hidden, shared=2 * queries + 2 * keys)


def _latent(text: Mapping[str, Any], hidden: int) -> LoraSides:
    """DeepSeek's: down to a latent, which is whole on each card, and up from it."""
    heads, rope = int(text["num_attention_heads"]), int(text["qk_rope_head_dim"])
    plain, value = int(text.get("qk_nope_head_dim") or 0), int(text.get("v_head_dim") or 0)
    queries, keys = int(text.get("q_lora_rank") or 0), int(text["kv_lora_rank"])
    down = (hidden + queries if queries else 0) + hidden + keys + rope
    up = (queries or hidden) + keys
    return LoraSides(whole=down + up + hidden, shared=heads * (plain + rope + plain + 2 * value))


def _mlp(hidden: int, inner: int) -> LoraSides:
    """Gate and up read the whole input on each card, down its share."""
    return LoraSides(whole=3 * hidden, shared=3 * inner)


def _width(facts: ModelFacts, args: Spread, room: LoraRoom, dtype: str) -> int:
    said = next((each for each in (room.dtype, args.dtype, dtype) if each != "auto"), facts.dtype)
    return WIDTHS[said]


def _count(value: Any) -> int:
    return value if isinstance(value, int) and value is not True and value > 0 else 0
