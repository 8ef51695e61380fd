"""A stream's short way: from a message's token ids straight to its reader.

The public way (vLLM's RequestOutput, a collector, the wake-up of the request's task through a dozen
frames) costs 15 µs a time. Here the task is woken for the first and the last of its deltas, and
for those in between only where it is behind.
"""

import asyncio
import logging
from typing import Any, Final

from engines.base import Delta, Sink
from engines.vllm.deltas import Choices
from engines.vllm.fastpath.byte_text import ByteText
from engines.vllm.fastpath.text import DetokenizedText

log = logging.getLogger("fjord.vllm")


class DirectStream:
    """One stream with a single choice, no stop strings and no log probabilities. Stands where
    vLLM has its collector: `put` is what vLLM says past the tokens."""

    __slots__ = (
        "_answer_text",
        "_cached_tokens",
        "_choices",
        "_error",
        "_finish",
        "_owed_ids",
        "_owed_text",
        "_reader",
        "_sink",
        "_state",
        "is_finished",
        "is_owed",
        "request_id",
    )

    counted: Final = 0
    """Of what is read: tokens that were counted before."""

    def __init__(self, request_id: str, choices: Choices, sink: Sink) -> None:
        self.request_id = request_id
        """vLLM's own, which is not the caller's."""
        self.is_finished = False
        """The last delta was read."""
        self._choices = choices
        self._sink = sink
        self._answer_text: DetokenizedText | ByteText | None = None
        self._state: Any = None
        self._owed_text, self._owed_ids = "", list[int]()
        self._finish: str | None = None
        self._cached_tokens = 0
        self.is_owed = False
        """Something waits to be read."""
        self._error: Exception | None = None
        self._reader: asyncio.Future[None] | None = None

    def begin(self, answer_text: DetokenizedText | ByteText, state: Any) -> None:
        """With what makes its text, and vLLM's RequestState for it, before the first output."""
        self._answer_text = answer_text
        self._state = state

    def take(self, output: Any) -> bool:
        """One message's output for this stream; whether it went to the sink at once. Raises
        nothing: what fails, fails this request alone."""
        answer_text, ids = self._answer_text, output.new_token_ids
        if answer_text is None or self._finish is not None:
            return False  # aborted before, or failed
        try:
            if output.finish_reason is not None:
                finish = str(output.finish_reason)
                text = answer_text.last(ids, finish == "stop")
                self._owe(text, ids, finish, cached_tokens_of(output))
            elif self.is_owed or not self._sink.is_ready():
                self._owe(answer_text.of(ids), ids, None, cached_tokens_of(output))
            else:
                self._sink.take(self._choices.piece(answer_text.of(ids), ids))
                return True
        except Exception as error:
            self.put(error)
        return False

    def put(self, result: Any) -> None:
        """vLLM's RequestOutput for an abort, or an error: the stream's last."""
        if isinstance(result, Exception):
            self._error = result
            self._answer_text = None
            self._wake()
        elif self._finish is None:
            [choice] = result.outputs
            self._owe(choice.text, choice.token_ids, choice.finish_reason, 0)

    def _owe(self, text: str, ids: list[int], finish: str | None, cached_tokens: int) -> None:
        """Keep it for the task, as one with what it has not read yet."""
        if self._state is not None:
            # The first output always comes here. Else vLLM would count the prompt as waiting
            # (max_num_queued_tokens) until the stream's end.
            self._state.is_prefilling = False
            self._state = None
        self._owed_text += text
        self._owed_ids += ids
        self._finish = finish
        self._cached_tokens += cached_tokens
        self.is_owed = True
        self._wake()

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    async def read(self) -> list[Delta]:
        """What is owed, as soon as there is some. Raises what failed."""
        while not self.is_owed and self._error is None:
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        return self.owed()

    def owed(self) -> list[Delta]:
        """All that waits, as one."""
        if self._error is not None:
            raise self._error
        text, ids, cached_tokens = self._owed_text, self._owed_ids, self._cached_tokens
        self._owed_text, self._owed_ids, self._cached_tokens, self.is_owed = "", [], 0, False
        self.is_finished = self._finish is not None
        return [self._choices.piece(text, ids, self._finish, cached_tokens)]


def cached_tokens_of(output: Any) -> int:
    """Told once, with the first token."""
    prefill = output.prefill_stats
    return 0 if prefill is None else prefill.num_cached_tokens or 0
