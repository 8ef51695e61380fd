"""A stream's short way: from a message's token ids straight to its reader.

The long way (vLLM's RequestOutput, a collector, the wake-up of the request's task through a dozen
frames) costs 15 µs a time. Here the task is woken for the first and the last of its deltas, and
for those in between only where it is behind.
"""

import asyncio
import logging
from typing import Any

from engines.base import Delta, Sink
from engines.vllm.deltas import Choices
from engines.vllm.fastpath.byte_text import ByteText
from engines.vllm.fastpath.text import DetokenizedText

log = logging.getLogger("fjord.vllm")


class DirectStream:
    """One stream with a single choice, no stop strings and no log probabilities. Stands where
    vLLM has its collector: `put` is what vLLM says past the tokens."""

    __slots__ = (
        "_cached",
        "_choices",
        "_error",
        "_finish",
        "_ids",
        "_is_owed",
        "_reader",
        "_sink",
        "_text",
        "_words",
        "is_finished",
        "request_id",
    )

    def __init__(self, request_id: str, choices: Choices, sink: Sink) -> None:
        self.request_id = request_id
        """vLLM's own, which is not the caller's."""
        self.is_finished = False
        """The last delta was read."""
        self._choices = choices
        self._sink = sink
        self._words: DetokenizedText | ByteText | None = None
        self._text, self._ids = "", list[int]()
        self._finish: str | None = None
        self._cached = 0
        self._is_owed = False
        self._error: Exception | None = None
        self._reader: asyncio.Future[None] | None = None

    def begin(self, words: DetokenizedText | ByteText) -> None:
        """With what makes its text, before the first output."""
        self._words = words

    def take(self, output: Any) -> bool:
        """One message's output for this stream; whether it went to the sink at once. Raises
        nothing: what fails, fails this request alone."""
        words, ids = self._words, output.new_token_ids
        if words is None or self._finish is not None:
            return False  # aborted before
        try:
            if output.finish_reason is not None:
                finish = str(output.finish_reason)
                self._owe(words.last(ids, finish == "stop"), ids, finish, _cached_tokens(output))
            elif self._is_owed or not self._sink.is_ready():
                self._owe(words.of(ids), ids, None, _cached_tokens(output))
            else:
                self._sink.take(self._choices.piece(words.of(ids), ids))
                return True
        except Exception as error:
            log.exception("a delta could not be handed over", exc_info=error)
            self.put(error)
        return False

    def put(self, said: Any) -> None:
        """vLLM's words for an abort, or an error."""
        if isinstance(said, Exception):
            self._error = said
            self._wake()
        elif self._finish is None:
            [choice] = said.outputs
            self._owe(choice.text, choice.token_ids, choice.finish_reason, 0)

    def _owe(self, text: str, ids: list[int], finish: str | None, cached: int) -> None:
        """Keep it for the task, as one with what it has not read yet."""
        self._text += text
        self._ids += ids
        self._finish = finish
        self._cached += cached
        self._is_owed = True
        self._wake()

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    async def read(self) -> list[Delta]:
        """What is owed, as soon as there is some."""
        while not self._is_owed and self._error is None:
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        if self._error is not None:
            raise self._error
        text, ids, cached = self._text, self._ids, self._cached
        self._text, self._ids, self._cached, self._is_owed = "", [], 0, False
        self.is_finished = self._finish is not None
        return [self._choices.piece(text, ids, self._finish, cached)]


class CollectedStream:
    """The long way: what vLLM's own collector holds, as deltas. Stands for a DirectStream."""

    def __init__(self, collector: Any, choices: Choices) -> None:
        self.request_id: str = collector.request_id
        self.is_finished = False
        self.put = collector.put
        self._collector = collector
        self._choices = choices

    async def read(self) -> list[Delta]:
        output = self._collector.get_nowait() or await self._collector.get()
        self.is_finished = output.finished
        return self._choices.deltas(output)


def _cached_tokens(output: Any) -> int:
    """Said once, with the first token."""
    prefill = output.prefill_stats
    return 0 if prefill is None else prefill.num_cached_tokens or 0
