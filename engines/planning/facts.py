"""What is known of a model before it is loaded: sizes of its parts, in elements and bytes."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from engines.planning.kv_layers import KvLayers

WIDTHS = {
    **{"F64": 8, "I64": 8, "F32": 4, "I32": 4, "U32": 4, "BF16": 2, "F16": 2, "I16": 2, "U16": 2},
    **{"F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1, "I8": 1, "U8": 1, "BOOL": 1},
}
"""Bytes of an element, by the names of safetensors."""
FLOATS = frozenset({"F64", "F32", "BF16", "F16"})
"""What an engine loads in its own dtype."""


class FactsUnknown(Exception):
    """Nothing can be planned for this model; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Experts:
    """A mixture: `count` experts of `width` in each of `layers`, `chosen` of them a token."""

    count: int
    chosen: int
    width: int
    layers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraSides:
    """Both sides of all matrices that a LoRA may be laid over, in elements: times its rank they are
    an adapter."""

    whole: int = 0
    """On every card, however many share the rest."""
    shared: int = 0

    def times(self, count: int) -> "LoraSides":
        return LoraSides(whole=self.whole * count, shared=self.shared * count)

    def plus(self, other: "LoraSides") -> "LoraSides":
        return LoraSides(whole=self.whole + other.whole, shared=self.shared + other.shared)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """One model's weights and shape. Elements are those that an engine loads: what only
    speculative decoding reads is in `stored_bytes` alone."""

    name: str
    elements: Mapping[str, int]
    """By stored dtype."""
    stored_bytes: int
    """What is downloaded."""
    dtype: str = "BF16"
    """What the weights compute in, by the model's own word."""
    is_quantised: bool = False
    block: int = 0
    """Quantised in blocks of so many rows: a card's share of an MLP must be whole blocks."""
    layers: int = 0
    hidden: int = 0
    heads: int = 1
    kv: tuple[KvLayers, ...] = ()
    vocabulary: int = 0
    embeddings: int = 1
    """Matrices of the vocabulary: one, or two where the head has its own."""
    mlp_width: int = 0
    experts: Experts | None = None
    context_tokens: int = 0
    """What it was trained for."""
    rope_elements: int = 0
    """A table of positions, made at the start."""
    whole_elements: int = 0
    """On every card, however many share the rest: routers, latent projections."""
    divided_heads: tuple[int, ...] = field(default=())
    """Counts of heads that the cards must divide, beside `heads`."""
    lora: LoraSides = LoraSides()

    @property
    def total_elements(self) -> int:
        return sum(self.elements.values())

    @property
    def expert_elements(self) -> int:
        e = self.experts
        return 3 * e.count * e.layers * e.width * self.hidden if e else 0

    def weights_bytes(self, dtype: str = "auto", quantization: str | None = None) -> int:
        """In memory: stored floats in the engine's dtype, all that is quantised as it is stored;
        `quantization` "fp8" halves the linear layers of a model that is stored in 16 bits."""
        width = WIDTHS[self.dtype if dtype == "auto" else dtype]
        if quantization == "fp8" and not self.is_quantised:
            return self._made_fp8(width)
        return sum(n * self._width(stored, width) for stored, n in self.elements.items())

    def added_bytes(self, dtype: str = "auto") -> int:
        """What an engine makes beside the stored weights: the vocabulary rounded up to 64 rows,
        and the table of positions."""
        width = WIDTHS[self.dtype if dtype == "auto" else dtype]
        padding = -self.vocabulary % 64 * self.hidden * self.embeddings
        return (padding + self.rope_elements) * width

    def packed_bytes(self, dtype: str = "auto") -> int:
        """What vLLM adds on a CPU, whose kernels have a packed copy of embedding and head, tied or
        not, beside the plain one; of an encoder the embedding alone."""
        width = WIDTHS[self.dtype if dtype == "auto" else dtype]
        rows = -(-self.vocabulary // 64) * 64
        return rows * self.hidden * width * (2 if self.kv else 1)

    def token_bytes(self, width: float, tensor_parallel: int = 1) -> int:
        """Of KV cache for one token on one card, `width` bytes an element."""
        return math.ceil(sum(group.token_elements(tensor_parallel) for group in self.kv) * width)

    def sequence_bytes(
        self, tokens: int, width: float, tensor_parallel: int = 1, block_tokens: int = 16
    ) -> int:
        """Of a sequence on one card; tokens come in whole blocks. A state is kept in the dtype of
        the weights, whatever the cache's."""
        rounded = -(-tokens // block_tokens) * block_tokens
        kept = WIDTHS[self.dtype]
        return math.ceil(
            sum(
                group.sequence_elements(rounded, tensor_parallel)
                * (kept if group.kind == "state" else width)
                for group in self.kv
            )
        )

    def _made_fp8(self, width: int) -> int:
        kept = self.vocabulary * self.hidden * self.embeddings + self.whole_elements
        return (self.total_elements - kept) + kept * width

    def _width(self, stored: str, width: int) -> int:
        is_cast = stored in FLOATS and not (self.is_quantised and stored == "F32")
        return width if is_cast else WIDTHS.get(stored, 2)
