"""Token ids -> text in a byte-level vocabulary, without asking the tokenizer.

There each token stands for bytes, and a text is their sum: a look-up and a join, in a fifth of the
time of the tokenizer's own stream, which decodes twice what it is given. The same text at the same
tokens: nothing is said that might still be half a character.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from engines.vllm.vocabulary import BYTE_OF_LETTER, UNFINISHED

_LONGEST_CHARACTER = 4
"""In bytes."""


class TokenBytes(dict[int, bytes]):
    """What each token adds to a text; read from the tokenizer when it is first asked for."""

    def __init__(self, tokenizer: Any, hides_special: bool) -> None:
        """`tokenizer`: a tokenizers.Tokenizer that `is_byte_level`."""
        super().__init__()
        self._tokenizer = tokenizer
        self._hides_special = hides_special

    def __missing__(self, token_id: int) -> bytes:
        text = self._tokenizer.decode([token_id], skip_special_tokens=self._hides_special)
        if UNFINISHED in text:
            letters = self._tokenizer.id_to_token(token_id)
            shown = bytes(BYTE_OF_LETTER[letter] for letter in letters)
        else:
            shown = text.encode()
        self[token_id] = shown
        return shown


class ByteText:
    """One answer's text."""

    __slots__ = ("_owed", "_shown")

    def __init__(self, shown: Mapping[int, bytes]) -> None:
        self._shown = shown
        self._owed = b""
        """The bytes of an unfinished character, and what its tokens hold before it."""

    def of(self, token_ids: Sequence[int]) -> str:
        """The text that these add."""
        added = b"".join(map(self._shown.__getitem__, token_ids))
        text = (self._owed + added).decode("utf-8", "replace")
        if text.endswith(UNFINISHED):
            return self._one_by_one(token_ids)
        self._owed = b""
        return text

    def _one_by_one(self, token_ids: Sequence[int]) -> str:
        shown = ""
        for token_id in token_ids:
            self._owed += self._shown[token_id]
            text = self._owed.decode("utf-8", "replace")
            if not text.endswith(UNFINISHED):
                shown += text
                self._owed = b""
        return shown

    def last(self, token_ids: Sequence[int], is_stop: bool) -> str:
        """The text that an answer's last ones add; `is_stop`: the very last is an end mark."""
        return self.of(token_ids[:-1] if is_stop else token_ids)


def is_byte_level(tokenizer: Any) -> bool:
    """Whether a tokenizers.Tokenizer writes its tokens' bytes, one after another, and no more."""
    return type(getattr(tokenizer, "decoder", None)).__name__ == "ByteLevel"


def is_whole(shown: Mapping[int, bytes], token_ids: Sequence[int]) -> bool:
    """Whether a text of these ends with a whole character."""
    end = b""
    for token_id in reversed(token_ids):
        end = shown[token_id] + end
        if len(end) >= _LONGEST_CHARACTER:
            break
    return not end.decode("utf-8", "replace").endswith(UNFINISHED)
