"""A stream's short way: from a message's token ids straight to its reader.

The long way (vLLM's RequestOutput, a collector, the wake-up of the request's task through a dozen
frames) costs 15 µs; a stream's first and last outputs take it, and all others that cannot go short.
"""

import logging
from collections.abc import Sequence
from typing import Any

from engines.base import Sink
from engines.vllm_choice import Choices
from engines.vllm_words import Words

log = logging.getLogger("fjord.vllm")


class Lane:
    """One stream with a single choice, no stop strings and no log probabilities."""

    __slots__ = ("_choices", "_collector", "_sink", "_words", "is_begun")

    def __init__(self, collector: Any, words: Words, choices: Choices, sink: Sink) -> None:
        self._collector = collector
        self._words = words
        self._choices = choices
        self._sink = sink
        self.is_begun = False
        """Its first token went the long way."""

    def take(self, token_ids: Sequence[int]) -> bool:
        """Hand them over; False where something before was not read yet, or the reader is not
        ready. Raises nothing: what fails, fails this request alone."""
        sink = self._sink
        if self._collector.output is not None or not sink.is_ready():
            return False
        try:
            text = self._words.of(token_ids)
            sink.take(self._choices.piece(text, token_ids))
        except Exception as error:
            log.exception("a delta could not be handed over", exc_info=error)
            self._collector.put(error)
        return True
