"""Token ids -> text in the middle of an answer, several tokens at a time.

vLLM's detokenizer takes one token after another, each through three calls. The tokenizer's own
stream takes several at once, unless they end inside a character: it would keep back the text of
them all.
"""

from collections.abc import Sequence
from typing import Any

_UNFINISHED = "\ufffd"


class Endings:
    """Which tokens of a vocabulary surely end a character: their own text is one that does."""

    def __init__(self, tokenizer: Any) -> None:
        """`tokenizer` is transformers'."""
        self._tokenizer = getattr(tokenizer, "backend_tokenizer", tokenizer)
        self._known: dict[int, bool] = {}

    def is_clean(self, token_id: int) -> bool:
        known = self._known.get(token_id)
        if known is None:
            text = self._tokenizer.decode([token_id], skip_special_tokens=True)
            known = self._known[token_id] = bool(text) and not text.endswith(_UNFINISHED)
        return known


class Words:
    """One answer's text; vLLM's own detokenizer has read what came before, and reads the end. No
    stop string is looked for."""

    __slots__ = ("_detokenizer", "_endings", "_is_fast")

    def __init__(self, detokenizer: Any, endings: Endings) -> None:
        self._detokenizer = detokenizer
        self._endings = endings
        # Else it writes special tokens in a way of its own.
        self._is_fast = getattr(detokenizer, "spaces_between_special_tokens", False)

    def of(self, token_ids: Sequence[int]) -> str:
        """The text that these add."""
        detokenizer = self._detokenizer
        if self._is_fast and self._endings.is_clean(token_ids[-1]):
            try:
                text = detokenizer.stream.step(detokenizer.tokenizer, token_ids)
            except Exception:  # a stream out of step, or one that takes single tokens only
                self._is_fast = False
            else:
                detokenizer.token_ids += token_ids
                return text or ""
        detokenizer.update(token_ids, False)
        return str(detokenizer.get_next_output_text(False, True))
