"""What a model keeps of a sequence while it runs, by kind of attention, in elements."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

AttentionKind: TypeAlias = Literal["full", "window", "latent", "state"]
"""full: keys and values of every token. window: of the last tokens only (sliding, chunked).
latent: one compressed vector a token (MLA), whole on every card. state: a fixed size a sequence
(linear attention)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KvLayers:
    """`count` layers of one kind, each with `heads` of `head_elements` (key and value together)."""

    kind: AttentionKind
    count: int
    heads: int = 1
    head_elements: int = 0
    window_tokens: int = 0
    state_elements: int = 0

    def token_elements(self, tensor_parallel: int = 1) -> int:
        """Of one token on one card. A card holds a whole head at least."""
        if self.kind == "latent":
            return self.count * self.heads * self.head_elements
        return self.count * _share(self.heads, tensor_parallel) * self.head_elements

    def sequence_elements(self, tokens: int, tensor_parallel: int = 1) -> int:
        """Of a sequence of so many tokens on one card."""
        if self.kind == "state":
            return self.count * -(-self.state_elements // tensor_parallel)
        kept = min(tokens, self.window_tokens) if self.kind == "window" else tokens
        return kept * self.token_elements(tensor_parallel)


def _share(heads: int, cards: int) -> int:
    return max(1, -(-heads // cards))
