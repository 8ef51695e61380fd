"""What models that read alone make of their inputs: vectors, and scores of pairs of texts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from engines.truncation import Truncation


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedding:
    """One input's vector (float32, L2-normalised where the model does so) and its token count."""

    vector: Sequence[float]
    prompt_tokens: int
    cached_tokens: int = 0
    """Of those, found in the engine's prefix cache."""


class TextPair(NamedTuple):
    """What a reranker reads at once."""

    query: str
    document: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PairOptions:
    """How pairs are read."""

    most_document_tokens: int | None = None
    """A longer document is cut to so many, before anything else."""
    truncation: Truncation | None = None
    """Of query and document together, where they are longer: the document gives way."""
    context_tokens: int | None = None
    """The most that a pair may have, where that is less than the engine's context."""
    instruction: str | None = None
    """What relevance means, for a model whose prompt has a place for it."""

    def most_tokens(self, engine_context_tokens: int) -> int:
        """That a pair may have."""
        return min(engine_context_tokens, self.context_tokens or engine_context_tokens)


@dataclass(frozen=True, slots=True)
class Score:
    """How relevant the document is to the query, and the tokens that were read of the two."""

    value: float
    prompt_tokens: int
    cached_tokens: int = 0
    """Of those, found in the engine's prefix cache."""


class Pooling(Protocol):
    """The part of an engine that such models have."""

    async def embed(
        self,
        request_id: str,
        inputs: Sequence[str | Sequence[int]],
        truncation: Truncation | None = None,
        cache_salt: str | None = None,
    ) -> list[Embedding]:
        """Vectors of `inputs`, in order, each cut where `truncation` says so; the tokens that
        mark a text's ends stay. Raises InvalidRequest where the model has none, and with its
        `input_index` where one input cannot be read. `cache_salt`: as a GenerateRequest's."""

    async def score(
        self,
        request_id: str,
        pairs: Sequence[TextPair],
        options: PairOptions,
        cache_salt: str | None = None,
    ) -> list[Score]:
        """Scores of `pairs`, in order, from 0 to 1 unless the model's own are otherwise. No pair
        is read before all are known to fit. Raises as `embed` does."""
