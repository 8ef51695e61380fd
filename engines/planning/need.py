"""The bytes that one engine takes of each of its cards, or of the machine's own memory."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engines.planning.cards import GIB, Card
from engines.planning.engine_arguments import VllmArguments, default_batch
from engines.planning.facts import WIDTHS, ModelFacts
from engines.planning.lora import copies_bytes, slots_bytes
from engines.planning.measured import Measured
from engines.registry.spec import LLAMACPP_CONTEXT_TOKENS

MIB = 2**20
CUDA_CONTEXT_BYTES = 512 * MIB
"""CUDA's own, and its libraries' workspaces."""
COLLECTIVES_BYTES = GIB
"""NCCL's buffers, where several cards work together."""
GRAPH_BYTES, GRAPH_LAYER_BYTES = 256 * MIB, 12 * MIB
"""CUDA graphs: a part of their own, and one for each layer of a card."""
PICTURES_BYTES = 2 * GIB
"""A vision encoder's step over its largest picture, and the cache of what comes out of it."""
CPU_PROCESSES_BYTES = 820 * MIB
"""vLLM's two processes on a CPU: engine core and worker, without weights and cache."""
CPU_BLOCK_TOKENS = 128
LINEAR_DTYPE = "BF16"
"""What vLLM computes linear attention in on a CPU, whatever the processor can."""
GGML_BYTES = {
    **{"f32": 4.0, "f16": 2.0, "bf16": 2.0, "q8_0": 34 / 32},
    **{"q5_1": 24 / 32, "q5_0": 22 / 32, "q4_1": 20 / 32, "q4_0": 18 / 32, "iq4_nl": 18 / 32},
}
"""Bytes of an element of llama.cpp's cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """On each card of an engine."""

    weights_bytes: int
    """With room for adapters, and what is made beside them at the start."""
    reserve_bytes: int
    """Activations, CUDA graphs, libraries."""
    token_bytes: int
    """KV cache of one token, here."""
    model_token_bytes: int
    """... and on all cards together, what several hold alike counted once."""
    stream_bytes: int
    """KV cache and state of one stream at full context."""
    context_tokens: int
    kv_bytes: int | None = None
    """The cache's size where it is given."""
    is_measured: bool = False

    @property
    def least_bytes(self) -> int:
        """With room for one stream at full context, or for the cache that is asked for."""
        cache = self.stream_bytes if self.kv_bytes is None else self.kv_bytes
        return self.weights_bytes + self.reserve_bytes + cache

    def streams(self, room_bytes: int) -> int:
        """How many at full context have room on a card with so many bytes for this engine."""
        if self.stream_bytes == 0:
            return 0
        room = room_bytes - self.weights_bytes - self.reserve_bytes
        return max(0, (room if self.kv_bytes is None else self.kv_bytes) // self.stream_bytes)


def on_card(facts: ModelFacts, args: VllmArguments, card: Card, known: Measured | None) -> Need:
    """A vLLM engine's, on one of its cards of this kind."""
    tp, stages = args.tensor_parallel, args.pipeline_parallel
    width = args.kv_width(facts)
    part = -(-max(1, facts.layers) // stages) / max(1, facts.layers)
    context = args.context_of(facts)
    token = known.token_bytes if known else int(facts.token_bytes(width, tp) * part)
    return Need(
        weights_bytes=known.weights_bytes
        if known
        else card_weights_bytes(facts, args) + slots_bytes(facts, args),
        reserve_bytes=known.reserve_bytes if known else reserve_bytes(facts, args, card),
        token_bytes=token,
        model_token_bytes=facts.token_bytes(width),
        stream_bytes=int(facts.sequence_bytes(context, width, tp) * part),
        context_tokens=context,
        kv_bytes=args.kv_bytes,
        is_measured=known is not None,
    )


def card_weights_bytes(facts: ModelFacts, args: VllmArguments) -> int:
    """Of the weights on one card: shared out, but for what each card holds whole."""
    total = max(1, facts.total_elements)
    mean = facts.weights_bytes(args.dtype, args.quantization) / total
    tp, stages = args.tensor_parallel, args.pipeline_parallel
    whole = facts.whole_elements + _repeated_kv(facts, tp)
    experts = facts.expert_elements
    others = max(0, total - facts.whole_elements - experts)
    shared = others / tp + experts / (tp * args.data_parallel)
    return int((shared + whole) / stages * mean) + facts.added_bytes(args.dtype) // tp


def _repeated_kv(facts: ModelFacts, tp: int) -> int:
    """The elements of key and value projections that a card holds beyond its share, where cards
    are more than KV heads."""
    groups = [group for group in facts.kv if group.kind in ("full", "window")]
    beyond = [
        group.count * group.head_elements * (1 - group.heads / tp)
        for group in groups
        if tp > group.heads
    ]
    return int(sum(beyond) * facts.hidden)


def reserve_bytes(facts: ModelFacts, args: VllmArguments, card: Card) -> int:
    """An estimate, to be replaced by what was measured: a step of the largest batch, the logits of
    all its sequences, CUDA graphs, CUDA and NCCL themselves."""
    tokens, sequences = default_batch(card.total_bytes, card.name)
    tokens, sequences = args.batched_tokens or tokens, args.sequences or sequences
    logits = sequences * facts.vocabulary * 10  # 16 bits, then twice 32: probabilities, sorted
    step = tokens * _step_elements(facts, args) * 2
    pictures = PICTURES_BYTES if args.images else 0
    return asleep_bytes(facts.layers, args) + logits + step + pictures


def asleep_bytes(layers: int, args: VllmArguments) -> int:
    """What an engine keeps of each card while it sleeps: CUDA and NCCL themselves, CUDA graphs. An
    estimate."""
    each = -(-layers // args.pipeline_parallel)
    graphs = 0 if args.is_eager else GRAPH_BYTES + GRAPH_LAYER_BYTES * each
    return CUDA_CONTEXT_BYTES + graphs + (COLLECTIVES_BYTES if args.world > 1 else 0)


def _step_elements(facts: ModelFacts, args: VllmArguments) -> int:
    """Held at once for one token of a step: the residual, and the widest of attention and MLP."""
    tp = args.tensor_parallel
    attention = 4 * facts.hidden // tp
    mlp = 3 * facts.mlp_width // tp
    mixture = 0
    if facts.experts:
        width = facts.experts.width // (1 if args.expert_parallel else tp)
        mixture = facts.experts.chosen * (3 * width + facts.hidden)
    return 4 * facts.hidden + max(attention, mlp, mixture)


def on_cpu(facts: ModelFacts, args: VllmArguments, dtype: str, cache_bytes: int) -> Need:
    """A vLLM engine's on a CPU; `dtype` and `cache_bytes` where its arguments say nothing."""
    own = LINEAR_DTYPE if any(each.kind == "state" for each in facts.kv) else dtype
    chosen = own if args.dtype == "auto" else args.dtype
    width = WIDTHS[chosen] if args.kv_dtype == "auto" else args.kv_width(facts)
    context = args.context_of(facts)
    added = facts.added_bytes(chosen) + facts.packed_bytes(chosen)
    adapters = slots_bytes(facts, args, chosen) + copies_bytes(facts, args, chosen)
    return Need(
        weights_bytes=facts.weights_bytes(chosen, args.quantization) + added + adapters,
        reserve_bytes=CPU_PROCESSES_BYTES,
        token_bytes=facts.token_bytes(width),
        model_token_bytes=facts.token_bytes(width),
        stream_bytes=facts.sequence_bytes(context, width, 1, CPU_BLOCK_TOKENS),
        context_tokens=context,
        kv_bytes=args.kv_bytes or (cache_bytes if facts.kv else 0),
    )


def llamacpp_need(facts: ModelFacts, args: Mapping[str, Any], adapters_bytes: int = 0) -> Need:
    """All of a llama.cpp engine's, on whatever devices its layers are. Its cache is one for all
    streams, of n_ctx tokens; its reserve are logits, and mask and activations of a batch."""
    trained = facts.context_tokens or LLAMACPP_CONTEXT_TOKENS
    context = _count(args.get("n_ctx")) or min(LLAMACPP_CONTEXT_TOKENS, trained)
    types = [str(args.get(name, "f16")).lower() for name in ("cache_type_k", "cache_type_v")]
    width = sum(GGML_BYTES.get(name, 2.0) for name in types) / 2
    batch, streams = _count(args.get("n_ubatch")) or 512, _count(args.get("n_parallel")) or 32
    logits = 2 * streams * facts.vocabulary * 4
    return Need(
        weights_bytes=facts.weights_bytes(),
        reserve_bytes=logits + batch * (2 * context + 32 * facts.hidden) + adapters_bytes,
        token_bytes=facts.token_bytes(width),
        model_token_bytes=facts.token_bytes(width),
        stream_bytes=facts.sequence_bytes(context, width, 1, 256),
        context_tokens=context,
    )


def _count(value: Any) -> int:
    return value if isinstance(value, int) and value is not True and value > 0 else 0
