"""Scores of pairs from llama.cpp's reranking, whose own listener puts the two together."""

import itertools
import math
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec

from engines.base import (
    ContextLengthExceeded,
    EngineBroken,
    EngineError,
    InvalidRequest,
    PairOptions,
    Score,
    TextPair,
)
from engines.gguf import GgufFile, has_classifier
from engines.inputs import encodable, input_at
from engines.pair_fit import fitted

GROUP_PAIRS = 16
"""Of one query, in one call: four steps of llama.cpp's four slots."""


class RankingModel(Protocol):
    """What it asks of engines.llamacpp.model.LlamacppModel."""

    context_tokens: int

    def tokenize(
        self, text: str, *, adds_special: bool, is_cut: bool, is_given_up: Callable[[], bool]
    ) -> list[int]: ...

    def ranked(self, body: bytes) -> bytes:
        """llama.cpp's answer to a request of its own form."""


@dataclass(frozen=True, slots=True)
class CountedPair:
    """A pair as it goes to llama.cpp."""

    pair: TextPair
    tokens: int

    def __len__(self) -> int:
        return self.tokens


@dataclass(frozen=True, slots=True)
class Ranks:
    """What a GGUF file says of its scores. Raises EngineBroken where it has none."""

    are_probabilities: bool

    @classmethod
    def of(cls, file: GgufFile) -> "Ranks":
        if not has_classifier(file):
            raise EngineBroken("This GGUF is no reranker's: it has no classifier (cls).")
        labels = file.get("{arch}.classifier.output_labels")
        architecture = str(file.get("general.architecture", ""))
        is_generative = architecture.startswith("qwen3")  # "yes" and "no"
        if not is_generative and getattr(labels, "length", 1) != 1:
            raise EngineBroken(f"This GGUF has {labels.length} labels; a reranker has one.")
        return cls(is_generative)

    def score(self, value: float) -> float:
        """As vLLM has it: a cross-encoder's is between 0 and 1."""
        if not math.isfinite(value):
            raise EngineError("The model's score is no number.")
        return value if self.are_probabilities else 0.5 * (1 + math.tanh(value / 2))


class Reranker:
    """One loaded model's. Every method blocks."""

    def __init__(self, model: RankingModel, ranks: Ranks) -> None:
        self._model, self._ranks = model, ranks
        one = len(model.tokenize("a", adds_special=False, is_cut=False, is_given_up=_never))
        _, tokens = self._call([CountedPair(TextPair("a", "a"), 0)])
        self._around_tokens = tokens - 2 * one

    def read(
        self, pairs: Sequence[TextPair], options: PairOptions, is_given_up: Callable[[], bool]
    ) -> list[CountedPair]:
        """Cut where they are to be, and counted. Raises InvalidRequest."""
        reader = _PairReader(self._model, self._around_tokens, is_given_up)
        return [self._read(index, pair, options, reader) for index, pair in enumerate(pairs)]

    def _read(
        self, index: int, pair: TextPair, options: PairOptions, reader: "_PairReader"
    ) -> CountedPair:
        context_tokens = options.most_tokens(self._model.context_tokens)
        with input_at(index):
            reader.check(pair, options)
            read = fitted(pair, options, context_tokens, reader)
            if len(read) > context_tokens:
                raise ContextLengthExceeded(len(read), None, context_tokens)
        return read

    def scores(self, group: Sequence[CountedPair]) -> list[Score]:
        """Of pairs of one query. Their tokens together are those that llama.cpp has read: a
        template around them may be tokenised with them."""
        values, tokens = self._call(group)
        counts = array("q", (len(each) for each in group))
        counts[-1] += tokens - sum(counts)
        scored = map(self._ranks.score, values)
        return [Score(value, count) for value, count in zip(scored, counts, strict=True)]

    def _call(self, group: Sequence[CountedPair]) -> tuple[list[float], int]:
        """llama.cpp's own scores, and the tokens of all."""
        documents = [each.pair.document for each in group]
        body = msgspec.json.encode({"query": group[0].pair.query, "documents": documents})
        answer = msgspec.json.decode(self._model.ranked(body))
        if "results" not in answer:
            raise RuntimeError(f"llama.cpp failed to rerank: {answer}")
        values = {each["index"]: each["relevance_score"] for each in answer["results"]}
        return [float(values[i]) for i in range(len(group))], int(answer["usage"]["prompt_tokens"])


def groups(pairs: Sequence[CountedPair]) -> Iterator[Sequence[CountedPair]]:
    """Neighbours with one query, not too many in each."""
    for _, alike in itertools.groupby(pairs, lambda each: each.pair.query):
        same = list(alike)
        for begin in range(0, len(same), GROUP_PAIRS):
            yield same[begin : begin + GROUP_PAIRS]


class _PairReader:
    """Counts the parts of a pair, each once; so a query that comes again."""

    def __init__(
        self, model: RankingModel, around_tokens: int, is_given_up: Callable[[], bool]
    ) -> None:
        self._model, self._around_tokens = model, around_tokens
        self._is_given_up = is_given_up
        self._query: tuple[str, int] = ("", 0)
        self._document: tuple[str, int] = ("", 0)

    def check(self, pair: TextPair, options: PairOptions) -> None:
        """Raises InvalidRequest."""
        encodable(pair.query, "query")
        encodable(pair.document, "documents")
        if options.instruction is not None:
            message = "This model's prompt has no place for an instruction."
            raise InvalidRequest(message, "instruction", "no instruction")
        is_cut = options.truncation is not None or options.most_document_tokens is not None
        self._document = (pair.document, self._count(pair.document, is_cut=is_cut))

    def read(self, query: str, document: str, instruction: str | None) -> CountedPair:
        if query != self._query[0]:
            self._query = (query, self._count(query, is_cut=False))
        tokens = self._query[1] + self.count(document) + self._around_tokens
        return CountedPair(TextPair(query, document), tokens)

    def count(self, text: str) -> int:
        known, tokens = self._document
        return tokens if text == known else self._count(text, is_cut=True)

    def cut(self, text: str, most_tokens: int, *, keeps_end: bool) -> str:
        """By counting: what a vocabulary's tokens are in the text is not told."""
        fits, over = 0, 4 * most_tokens
        while over < len(text) and self.count(_part(text, over, keeps_end)) <= most_tokens:
            fits, over = over, 2 * over
        if over >= len(text):
            if self.count(text) <= most_tokens:
                return text
            over = len(text)
        while over - fits > 1:
            middle = (fits + over) // 2
            is_over = self.count(_part(text, middle, keeps_end)) > most_tokens
            fits, over = (fits, middle) if is_over else (middle, over)
        return _part(text, fits, keeps_end)

    def _count(self, text: str, *, is_cut: bool) -> int:
        gave_up = self._is_given_up
        return len(
            self._model.tokenize(text, adds_special=False, is_cut=is_cut, is_given_up=gave_up)
        )


def _part(text: str, characters: int, keeps_end: bool) -> str:
    return text[len(text) - characters :] if keeps_end else text[:characters]


def _never() -> bool:
    return False
