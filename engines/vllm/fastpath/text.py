"""Token ids -> text in the middle of an answer, several tokens at a time.

vLLM's detokenizer takes one token after another, each through three calls. The tokenizer's own
stream takes several at once, unless they end inside a character: it would keep back the text of
them all.
"""

from collections.abc import Sequence
from typing import Any

from engines.vllm.fastpath.byte_text import ByteText, TokenBytes, is_byte_level, is_whole
from engines.vllm.vocabulary import Vocabulary


class TextMakers:
    """Makes what makes an answer's text; one for each model."""

    def __init__(
        self, vocabulary: Vocabulary, *, has_byte_text: bool = True, is_grouped: bool = True
    ) -> None:
        """`has_byte_text`: texts are summed from tokens' bytes where the vocabulary has such;
        `is_grouped`: vLLM's detokenizer takes several tokens at once."""
        self._vocabulary = vocabulary
        self._has_byte_text = has_byte_text
        self._is_grouped = is_grouped
        self._token_bytes: dict[bool, TokenBytes | None] = {}

    def begin(self, detokenizer: Any, prompt_ids: Sequence[int]) -> "DetokenizedText | ByteText":
        """For one answer. `detokenizer`: vLLM's own for it."""
        has_stream = hasattr(detokenizer, "stream")
        token_bytes = self._table(detokenizer) if has_stream and self._has_byte_text else None
        if token_bytes is not None and is_whole(token_bytes, prompt_ids):
            return ByteText(token_bytes)
        return DetokenizedText(detokenizer, self._vocabulary, self._is_grouped)

    def _table(self, detokenizer: Any) -> TokenBytes | None:
        hides = bool(detokenizer.skip_special_tokens)
        if hides not in self._token_bytes:
            tokenizer = detokenizer.tokenizer
            table = TokenBytes(tokenizer, hides) if is_byte_level(tokenizer) else None
            self._token_bytes[hides] = table
        return self._token_bytes[hides]


class DetokenizedText:
    """One answer's text, on vLLM's own detokenizer. No stop string is looked for."""

    __slots__ = ("_detokenizer", "_is_grouped", "_vocabulary")

    def __init__(self, detokenizer: Any, vocabulary: Vocabulary, is_grouped: bool = True) -> None:
        self._detokenizer = detokenizer
        self._vocabulary = vocabulary
        # Else it writes special tokens in a way of its own.
        has_plain_specials = getattr(detokenizer, "spaces_between_special_tokens", False)
        self._is_grouped = is_grouped and has_plain_specials

    def of(self, token_ids: Sequence[int]) -> str:
        """The text that these add."""
        detokenizer = self._detokenizer
        if self._is_grouped and self._vocabulary.ends_character(token_ids[-1]):
            try:
                text = detokenizer.stream.step(detokenizer.tokenizer, token_ids)
            except Exception:  # a stream out of step, or one that takes single tokens only
                self._is_grouped = False
            else:
                detokenizer.token_ids += token_ids
                return text or ""
        detokenizer.update(token_ids, False)
        return str(detokenizer.get_next_output_text(False, True))

    def last(self, token_ids: Sequence[int], is_stop: bool) -> str:
        """The text that an answer's last ones add; `is_stop`: the very last is an end mark."""
        self._detokenizer.update(token_ids, is_stop)
        return str(self._detokenizer.get_next_output_text(True, True))
