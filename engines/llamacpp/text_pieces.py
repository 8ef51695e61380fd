"""Long texts cut where llama.cpp cuts them too, at special tokens: the pieces' tokens are the
whole's.

llama.cpp looks for each special token from every one that it found to the text's end: 480,000
characters of nothing else took it two seconds, and eight million minutes. In pieces that is
linear, and between two of them a request can be given up.
"""

import re
from collections.abc import Iterator, Sequence

PIECE_CHARACTERS = 16_384
_MOST_CUTS = 256
"""So many special tokens are looked for; a model's hundreds of reserved ones are not."""
_STRIPS = "<mask>"
"""The one token that llama.cpp lets swallow the white space before it."""


class TextPieces:
    """Of one model. `special`: the texts of all tokens that llama.cpp finds in plain text."""

    def __init__(self, special: Sequence[str], size: int = PIECE_CHARACTERS) -> None:
        self._size = size
        cuts = certain_cuts(special)[:_MOST_CUTS]
        self._cut = re.compile("|".join(map(re.escape, cuts))) if cuts else None

    def of(self, text: str) -> Iterator[str]:
        """Pieces of `size` characters and more, in order: up to the next sure cut."""
        begin = 0
        while (end := self._next_cut(text, begin + self._size)) < len(text):
            yield text[begin:end]
            begin = end
        yield text[begin:]

    def _next_cut(self, text: str, position: int) -> int:
        """Searched in windows, since one search keeps all other threads waiting."""
        while self._cut is not None and position < len(text):
            found = self._cut.search(text, position, position + 2 * self._size)
            if found is not None:
                return found.start()
            position += self._size
        return len(text)


def certain_cuts(special: Sequence[str]) -> list[str]:
    """Those that are found wherever they stand: no other one can lie across or around them, so
    that a text may be cut before them."""
    known = sorted({token for token in special if token})
    heads = {token[:size] for token in known for size in range(1, len(token))}
    tails = {token[size:] for token in known for size in range(1, len(token))}
    return [token for token in known if _is_certain(token, known, heads, tails)]


def _is_certain(token: str, known: Sequence[str], heads: set[str], tails: set[str]) -> bool:
    if len(token) < 3 or token == _STRIPS:
        return False
    inner = range(1, len(token))
    if any(token[size:] in heads or token[:size] in tails for size in inner):
        return False
    return not any(token in other for other in known if other != token)
