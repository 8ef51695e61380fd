"""The scripted engine's vectors and scores: of a text's words alone, so that tests know them."""

import asyncio
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from engines.base import (
    ContextLengthExceeded,
    Embedding,
    InvalidRequest,
    PairOptions,
    Score,
    TextPair,
    Truncation,
)
from engines.host.worker_threads import WorkerThreads
from engines.inputs import input_at
from engines.pair_fit import ReadPair, fitted
from engines.registry.spec import EngineSpec
from engines.testing.words import LONG_TEXT, ids_of, words_of

_VECTOR_SIZE = 16
_SEPARATOR = 0
"""The token between a query and a document."""


class ScriptedPooling:
    """What ScriptedEngine has of engines.pooling.Pooling. Vectors and scores come after
    `first_token_delay_s`."""

    spec: EngineSpec
    args: Mapping[str, Any]
    context_tokens: int
    _long_texts: WorkerThreads

    def _check_alive(self) -> None:
        """Raises EngineDead."""
        raise NotImplementedError

    async def embed(
        self,
        request_id: str,
        inputs: Sequence[str | Sequence[int]],
        truncation: Truncation | None = None,
        cache_salt: str | None = None,
    ) -> list[Embedding]:
        if self.spec.task != "embed":
            raise InvalidRequest("This model makes no embeddings.", "model")
        if sum(map(len, inputs)) < LONG_TEXT:
            return self._embeddings(inputs, truncation)
        return await self._long_texts(self._embeddings, inputs, truncation)

    def _embeddings(
        self, inputs: Sequence[str | Sequence[int]], truncation: Truncation | None
    ) -> list[Embedding]:
        return [self._embedding(index, x, truncation) for index, x in enumerate(inputs)]

    def _embedding(
        self, index: int, x: str | Sequence[int], truncation: Truncation | None
    ) -> Embedding:
        ids: Sequence[int] = ids_of(x) if isinstance(x, str) else x
        with input_at(index):
            if truncation is not None:
                ids = truncation.kept(ids, self.context_tokens)
            _check_fits(ids, self.context_tokens)
        return _embedding(ids)

    async def score(
        self,
        request_id: str,
        pairs: Sequence[TextPair],
        options: PairOptions,
        cache_salt: str | None = None,
    ) -> list[Score]:
        if self.spec.task != "rerank":
            raise InvalidRequest("This model does not rerank.", "model")
        read = await self._long_texts(self._read, pairs, options)
        await asyncio.sleep(self.args.get("first_token_delay_s", 0))
        self._check_alive()
        return [Score(_score(each.token_ids), len(each.token_ids)) for each in read]

    def _read(self, pairs: Sequence[TextPair], options: PairOptions) -> list[ReadPair]:
        read = []
        for index, pair in enumerate(pairs):
            with input_at(index):
                most = options.most_tokens(self.context_tokens)
                each = fitted(pair, options, most, _PairTokenizer())
                _check_fits(each.token_ids, most)
            read.append(each)
        return read


def _check_fits(ids: Sequence[int], most_tokens: int) -> None:
    if len(ids) > most_tokens:
        raise ContextLengthExceeded(len(ids), None, most_tokens)


class _PairTokenizer:
    """The query, a separator, the document."""

    def read(self, query: str, document: str, instruction: str | None) -> ReadPair:
        told = ids_of(instruction or "")
        asked = [*told, *_alike(query), _SEPARATOR]
        return ReadPair([*asked, *_alike(document)], len(asked))

    def count(self, text: str) -> int:
        return len(ids_of(text))

    def cut(self, text: str, most_tokens: int, *, keeps_end: bool) -> str:
        pieces = list(words_of(text))
        return "".join(pieces[-most_tokens:] if keeps_end else pieces[:most_tokens])


def _alike(text: str) -> list[int]:
    """A word is the same token wherever it stands."""
    return [token for word in words_of(text) for token in ids_of(word.strip() or word)]


def _score(ids: Sequence[int]) -> float:
    """How much of the query is in the document."""
    at = ids.index(_SEPARATOR)
    query, document = set(ids[:at]), set(ids[at + 1 :])
    return len(query & document) / (len(query) or 1)


def _embedding(ids: Sequence[int]) -> Embedding:
    raw = [sum(zlib.crc32(b"%d/%d" % (i, k)) % 1000 for i in ids) for k in range(_VECTOR_SIZE)]
    norm = sum(v * v for v in raw) ** 0.5 or 1.0
    return Embedding(vector=[v / norm for v in raw], prompt_tokens=len(ids))
