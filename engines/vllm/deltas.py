"""vLLM's RequestOutput -> Deltas: reasoning split off, tool calls read, tokens counted."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from engines.answers.forced_calls import ForcedCalls, is_forced
from engines.base import (
    Delta,
    EngineUnavailable,
    FinishReason,
    GenerateRequest,
    TokenLogprob,
    ToolCallDelta,
)
from engines.vllm.tools import AutoCalls, ToolReading
from engines.vllm.vocabulary import Vocabulary

_FINISH: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "abort": "abort",
    "repetition": "stop",
}


_Read: TypeAlias = tuple[str, str, int, tuple[ToolCallDelta, ...]]
"""Thought, answer, the thought's tokens, calls."""


class Choices:
    """All choices of one request."""

    def __init__(
        self, request: GenerateRequest, vocabulary: Vocabulary, reading: ToolReading | None
    ) -> None:
        self._is_plain = (
            request.reasoning is None
            and reading is None
            and not is_forced(request)
            and request.sampling.logprobs is None
        )
        self._choices = (
            []
            if self._is_plain
            else [_Choice(request, vocabulary, reading) for _ in range(request.sampling.n)]
        )
        self._is_first = True

    def deltas(self, output: Any) -> list[Delta]:
        """Cached tokens are the first delta's alone: outputs that vLLM merged hold several."""
        if self._is_plain:
            return [
                Delta(
                    c.index,
                    c.text,
                    len(c.token_ids),
                    _finish_reason(c),
                    "",
                    0,
                    self._cached(output),
                )
                for c in output.outputs
            ]
        return [self._choices[c.index].delta(c, self._cached(output)) for c in output.outputs]

    def piece(
        self, text: str, token_ids: Sequence[int], finish: str | None = None, cached: int = 0
    ) -> Delta:
        """The next delta of a single choice; `finish` is vLLM's word for why it was the last."""
        if self._is_plain and finish is None:
            return Delta(0, text, len(token_ids), None, "", 0, cached)
        piece = _Piece(text, token_ids, 0, finish)
        if self._is_plain:
            return Delta(0, text, len(token_ids), _finish_reason(piece), "", 0, cached)
        return self._choices[0].delta(piece, cached)

    def _cached(self, output: Any) -> int:
        if not self._is_first:
            return 0
        self._is_first = False
        return output.num_cached_tokens or 0


@dataclass(slots=True)
class _Piece:
    """As much of vLLM's CompletionOutput as a choice reads."""

    text: str
    token_ids: Sequence[int]
    index: int = 0
    finish_reason: str | None = None
    logprobs: Any = None


class _Choice:
    """What one index must remember between its deltas."""

    def __init__(
        self, request: GenerateRequest, vocabulary: Vocabulary, reading: ToolReading | None
    ) -> None:
        self._vocabulary = vocabulary
        self._splitter = vocabulary.splitter(request.reasoning) if request.reasoning else None
        self._forced = ForcedCalls(request) if is_forced(request) else None
        self._auto = AutoCalls(reading, vocabulary, self._splitter) if reading else None
        self._top_logprobs = request.sampling.logprobs
        self._has_called = False

    def delta(self, completion: Any, cached: int) -> Delta:
        text, ids = completion.text, completion.token_ids
        reason = _finish_reason(completion)
        thought, text, thought_count, calls = self._read(text, ids, reason is not None)
        self._has_called = self._has_called or bool(calls)
        if reason == "stop" and self._has_called:
            reason = "tool_calls"
        return Delta(
            completion.index,
            text,
            len(ids),
            reason,
            thought,
            thought_count,
            cached,
            calls,
            self._logprobs(completion),
        )

    def _read(self, text: str, ids: Sequence[int], is_last: bool) -> _Read:
        if self._auto is not None:
            return self._auto.feed(text, ids, is_last)
        if self._splitter is None:
            return _called(self._forced, "", text, 0)
        return _called(self._forced, *self._splitter.feed(text, ids, is_last))

    def _logprobs(self, completion: Any) -> tuple[TokenLogprob, ...]:
        if self._top_logprobs is None or not completion.logprobs:
            return ()
        return self._vocabulary.logprobs(
            completion.token_ids, completion.logprobs, self._top_logprobs
        )


def _called(forced: ForcedCalls | None, thought: str, answer: str, thought_count: int) -> _Read:
    if forced is None:
        return thought, answer, thought_count, ()
    return thought, "", thought_count, forced.feed(answer)


def _finish_reason(completion: Any) -> FinishReason | None:
    reason = completion.finish_reason
    if reason is None:
        return None
    if reason == "error":
        raise EngineUnavailable("The engine failed this request; it may be sent again.")
    if reason not in _FINISH:
        raise RuntimeError(f"vLLM ended an answer with {reason!r}, which is unknown here")
    return _FINISH[reason]
