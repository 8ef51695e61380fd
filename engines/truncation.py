"""Prompts and inputs that are cut to so many tokens, where a client asks for that."""

from collections.abc import Sequence
from dataclasses import dataclass

from engines.errors import InvalidRequest

FIELD = "truncate_prompt_tokens"


@dataclass(frozen=True, slots=True)
class TextEnds:
    """The tokens that a model puts around every text; a cut leaves them."""

    first: tuple[int, ...] = ()
    last: tuple[int, ...] = ()

    @classmethod
    def around(cls, marked: Sequence[int], bare: Sequence[int]) -> "TextEnds":
        """Seen around one text: its tokens with and without them."""
        begin = next(i for i in range(len(marked)) if [*marked[i : i + len(bare)]] == [*bare])
        return cls(tuple(marked[:begin]), tuple(marked[begin + len(bare) :]))


NO_ENDS = TextEnds()


@dataclass(frozen=True, slots=True)
class Truncation:
    """How much of a prompt is kept."""

    most_tokens: int
    """-1: as much as fits."""
    keeps_end: bool = True
    """Else its beginning."""

    def most(self, fitting_tokens: int) -> int:
        """So many of a prompt that has room for `fitting_tokens`."""
        return self.most_tokens if self.most_tokens >= 0 else fitting_tokens

    def kept(
        self, ids: Sequence[int], fitting_tokens: int, ends: TextEnds = NO_ENDS
    ) -> Sequence[int]:
        """`ids`, themselves where all of them stay. Raises InvalidRequest where none would, beside
        the text's `ends`."""
        most = self.most(fitting_tokens)
        if len(ids) <= most:
            return ids
        room = most - len(ends.first) - len(ends.last)
        if room < 1:
            message = f"{FIELD} {most} leaves no token of the text"
            around = f", which has {most - room} around it" if most != room else ""
            raise InvalidRequest(f"{message}{around}.", FIELD)
        text = ids[len(ends.first) : len(ids) - len(ends.last)]
        return [*ends.first, *(text[-room:] if self.keeps_end else text[:room]), *ends.last]
