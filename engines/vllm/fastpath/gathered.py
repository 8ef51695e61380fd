"""A whole answer's short way: its token ids are gathered, and its task is woken once, at the end.

Nobody waits for its pieces. The public way makes text of each token, though, in 3 µs.
"""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from msgspec import structs

from engines.base import Delta
from engines.vllm.deltas import Choices
from engines.vllm.fastpath.byte_text import ByteText
from engines.vllm.fastpath.stream import cached_tokens_of
from engines.vllm.fastpath.text import DetokenizedText
from engines.vllm.silence import Pace

_AT_ONCE = 256
"""Tokens that become text together: a long answer's would hold the event loop up."""


class GatheredStream:
    """One whole answer with a single choice, no stop strings and no log probabilities. Stands
    where vLLM has its collector: `put` is what vLLM says past the tokens."""

    __slots__ = (
        "_answer_text",
        "_cached_tokens",
        "_choices",
        "_end",
        "_first_at",
        "_ids",
        "_state",
        "_texts",
        "_token_ids",
        "counted",
        "is_finished",
        "on_first",
        "request_id",
    )

    def __init__(self, request_id: str, choices: Choices) -> None:
        self.request_id = request_id
        """vLLM's own, which is not the caller's."""
        self.is_finished = False
        """The answer was read."""
        self.counted = 0
        """Tokens that `take` has told of."""
        self.on_first: Callable[[int], None] | None = None
        """Called once the prompt is read, with how much of it the cache had."""
        self._choices = choices
        self._answer_text: DetokenizedText | ByteText | None = None
        self._state: Any = None
        self._ids: list[int] = []
        """Those that are not in `_texts` yet."""
        self._token_ids: list[int] = []
        self._texts: list[str] = []
        self._cached_tokens = 0
        self._first_at: float | None = None
        self._end: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """vLLM's word for why it ended."""

    def begin(self, answer_text: DetokenizedText | ByteText, state: Any) -> None:
        """With what makes its text, and vLLM's RequestState for it, before the first output."""
        self._answer_text = answer_text
        self._state = state

    def take(self, output: Any) -> bool:
        """One message's output for it; True: its tokens are `counted`, and it goes on. Raises
        nothing: what fails, fails this request alone."""
        answer_text = self._answer_text
        if answer_text is None or self._end.done():
            return False  # aborted before, or failed
        try:
            self._gather(output, answer_text)
        except Exception as error:
            self.put(error)
        if self._end.done():
            return False
        self.counted += len(output.new_token_ids)
        return True

    def _gather(self, output: Any, answer_text: DetokenizedText | ByteText) -> None:
        if self._state is not None:
            # Else vLLM would count the prompt as waiting (max_num_queued_tokens) until the end.
            self._state.is_prefilling = False
            self._state = None
            self._cached_tokens = cached_tokens_of(output)
            self._first_at = time.monotonic()
            if self.on_first is not None:
                self.on_first(self._cached_tokens)
        self._ids += output.new_token_ids
        if output.finish_reason is not None:
            finish = str(output.finish_reason)
            self._texts.append(answer_text.last(self._ids, finish == "stop"))
            self._ended(finish)
        elif len(self._ids) >= _AT_ONCE:
            self._texts.append(answer_text.of(self._ids))
            self._token_ids += self._ids
            self._ids = []

    def put(self, result: Any) -> None:
        """vLLM's RequestOutput for an abort, or an error: the last of it."""
        if self._end.done():
            return
        if isinstance(result, Exception):
            self._answer_text = None
            self._end.set_exception(result)
            self._end.exception()  # nobody may be left to read it
            return
        if self._answer_text is not None:
            self._texts.append(self._answer_text.of(self._ids) if self._ids else "")
        self._ended(str(result.outputs[0].finish_reason))

    def _ended(self, finish: str) -> None:
        self._token_ids += self._ids
        self._end.set_result(finish)

    async def read(self) -> list[Delta]:
        """The answer, as soon as it is all there. Raises what failed."""
        finish = await asyncio.shield(self._end)
        self.is_finished = True
        text = "".join(self._texts)
        piece = self._choices.piece(text, self._token_ids, finish, self._cached_tokens)
        if self._first_at is None:
            return [piece]
        return [structs.replace(piece, gathered_s=time.monotonic() - self._first_at)]


def tell_first(stream: Any, pace: Pace, name: str) -> None:
    """What reading its prompt took is known at its first token, and it is read at its last."""
    if isinstance(stream, GatheredStream):
        stream.on_first = partial(pace.has_token, name)
