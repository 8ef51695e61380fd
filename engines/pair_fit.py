"""Pairs of texts that are cut to what fits: the document gives way, the query never does."""

from collections.abc import Sequence, Sized
from dataclasses import dataclass
from typing import Protocol, TypeVar

from engines.errors import InvalidRequest
from engines.pooling import PairOptions, TextPair
from engines.truncation import FIELD

R_co = TypeVar("R_co", bound=Sized, covariant=True)


@dataclass(frozen=True, slots=True)
class ReadPair:
    """A pair as its model reads it."""

    token_ids: Sequence[int]
    second_at: int | None = None
    """Where the tokens begin that are of the second kind (BERT's token_type_ids), if any are."""

    def __len__(self) -> int:
        return len(self.token_ids)


class PairTokenizer(Protocol[R_co]):
    """One model's; every method blocks."""

    def read(self, query: str, document: str, instruction: str | None) -> R_co:
        """The two as the model was trained to read them; as long as their tokens are many."""

    def count(self, text: str) -> int:
        """Tokens of a text alone."""

    def cut(self, text: str, most_tokens: int, *, keeps_end: bool) -> str:
        """The text's beginning, or end, of at most so many tokens, read alone."""


def fitted(
    pair: TextPair, options: PairOptions, context_tokens: int, tokenizer: PairTokenizer[R_co]
) -> R_co:
    """The pair, cut where `options` say so. Raises InvalidRequest where nothing of the document
    would be left."""
    truncation, document = options.truncation, pair.document
    keeps_end = truncation is not None and truncation.keeps_end
    if options.most_document_tokens is not None:
        document = tokenizer.cut(document, options.most_document_tokens, keeps_end=keeps_end)
    read = tokenizer.read(pair.query, document, options.instruction)
    if truncation is None:
        return read
    most = truncation.most(context_tokens)
    while (over := len(read) - most) > 0:
        room = tokenizer.count(document) - over
        if room < 1:
            message = f"{FIELD} {most} leaves no token of the document beside the query."
            raise InvalidRequest(message, FIELD, "room for the query and a part of the document")
        document = tokenizer.cut(document, room, keeps_end=keeps_end)
        read = tokenizer.read(pair.query, document, options.instruction)
    return read
