"""A merged delta, taken apart into its tokens for readers that must see them one by one.

vLLM's parsers deepseek_v3 and llama3_json lose names and arguments of a call where a delta holds
more than one of their marks (0.32.0: from 5 and from 16 tokens a delta on).
"""

from collections.abc import Iterator, Sequence

from engines.vllm.vocabulary import Vocabulary


class SplitDeltas:
    """One choice's: `split` each delta once, in order."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._owed = b""
        """Of tokens that were given out and whose text is still to come: parts of a character."""

    def split(self, text: str, token_ids: Sequence[int]) -> Iterator[tuple[str, Sequence[int]]]:
        """(text, ids) that put together are the delta: a token each, and what is left in one
        where the text does not show its tokens. At least one."""
        begin = at = 0
        for end, token_id in enumerate(token_ids, 1):
            piece = self._shown(token_id)
            if piece and text.startswith(piece, at):
                yield piece, token_ids[begin:end]
                begin, at = end, at + len(piece)
                self._owed = b""
            elif piece and self._vocabulary.is_special(token_id):
                self._owed = b""  # hidden: it goes with the next
            elif piece:
                break
        if at < len(text):
            self._owed = b""
        if at < len(text) or begin < len(token_ids) or not begin:
            yield text[at:], token_ids[begin:]

    def _shown(self, token_id: int) -> str:
        """A token's text with what was owed before it; empty inside a character."""
        self._owed += self._vocabulary.raw(token_id) or b""
        try:
            return self._owed.decode()
        except UnicodeDecodeError:
            return ""
