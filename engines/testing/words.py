"""The scripted engine's tokens: words, with the space before them."""

import re
import zlib
from collections.abc import Iterator

from engines.host.interpreter_turns import give_way

_WORDS = re.compile(r"\s*\S+|\s+")
LONG_TEXT = 2**15
"""From here on a text is split in a thread, and in pieces."""


def words_of(text: str) -> Iterator[str]:
    """One at a time: a search of a whole long text would keep the event loop waiting, also from
    another thread."""
    begin = 0
    while begin < len(text):
        end = _cut(text, begin + LONG_TEXT)
        yield from (match[0] for match in _WORDS.finditer(text, begin, end))
        begin = end
        give_way()


def _cut(text: str, position: int) -> int:
    """The end of the text, or a place soon after `position` where a word begins."""
    found = text.find(" ", position, position + LONG_TEXT)
    return min(found if found >= 0 else position + LONG_TEXT, len(text))


def ids_of(text: str) -> list[int]:
    return [zlib.crc32(w.encode("utf-8", "surrogatepass")) & 0xFFFF for w in words_of(text)]
