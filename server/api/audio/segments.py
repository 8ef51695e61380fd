"""What a model wrote down of one piece -> text, and parts of it with their times."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from engines.base import Delta

_TIME: Final = re.compile(r"<\|(\d{1,3}\.\d\d)\|>")
MARK: Final = re.compile(r"<\|[^|<>]{1,24}\|>")
"""A token that is none of the text."""


class Segment(NamedTuple):
    """Seconds from the recording's beginning."""

    start: float
    end: float
    text: str
    logprob: float
    """The mean of its piece's tokens."""


@dataclass(slots=True)
class HeardPiece:
    """Of a recording: what a model hears at once."""

    begin_s: float
    length_s: float
    texts: list[str] = field(default_factory=list)
    logprob_sum: float = 0.0
    tokens: int = 0

    def add(self, d: Delta) -> None:
        self.texts.append(d.text)
        self.logprob_sum += sum(each.logprob for each in d.logprobs)
        self.tokens += len(d.logprobs)

    @property
    def text(self) -> str:
        return MARK.sub("", "".join(self.texts)).strip()

    def segments(self) -> Iterator[Segment]:
        """In order, none of them empty. A model's times are no more than its word: they are held
        within the piece, and never go back."""
        logprob = self.logprob_sum / self.tokens if self.tokens else 0.0
        start, text = 0.0, ""
        for number, part in enumerate([*_TIME.split("".join(self.texts)), f"{self.length_s:.2f}"]):
            if number % 2 == 0:
                text = MARK.sub("", part)
                continue
            end = min(max(float(part), start), self.length_s)
            if text.strip():
                yield Segment(self.begin_s + start, self.begin_s + end, text, logprob)
            start = end
