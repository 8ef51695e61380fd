"""A stream's short way: from a step's token ids straight to its reader.

The long way (vLLM's RequestOutput, a collector, the wake-up of the request's task through a dozen
frames) costs 15 µs; a stream's first and last outputs take it, and all others that cannot go short.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any

from engines.base import Sink
from engines.vllm_choice import Choices

log = logging.getLogger("fjord.vllm")


class Lane:
    """One request with a single choice, no stop strings and no log probabilities."""

    __slots__ = (
        "_choices",
        "_collector",
        "_count",
        "_detokenizer",
        "_sink",
        "is_begun",
        "is_whole",
        "waiting",
    )

    def __init__(
        self,
        collector: Any,
        state: Any,
        choices: Choices,
        sink: Sink | None,
        count: Callable[[int], None],
        is_whole: bool = False,
    ) -> None:
        self._collector = collector
        self._detokenizer = state.detokenizer
        self._choices = choices
        self._sink = sink
        self._count = count
        self.is_whole = is_whole
        """Nobody reads it before its end."""
        self.is_begun = False
        """Its first token went the long way."""
        self.waiting: Any = None
        """An output of vLLM's that waits for its companions."""

    def is_open(self) -> bool:
        """Whether everything before was read, and the reader takes more at once."""
        sink = self._sink
        return sink is not None and self._collector.output is None and sink.is_ready()

    def give(self, token_ids: Sequence[int]) -> None:
        """Only while it is open. Raises nothing: what fails, fails this request alone."""
        assert self._sink is not None
        try:
            self._detokenizer.update(token_ids, False)
            text = self._detokenizer.get_next_output_text(False, True)
            self._count(len(token_ids))
            self._sink.take(self._choices.piece(text, token_ids))
        except Exception as error:
            log.exception("a delta could not be handed over", exc_info=error)
            self._collector.put(error)
