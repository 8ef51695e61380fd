"""One choice of a request: folds llama.cpp's chunks into the next delta, its reasoning split off
and its tool calls read."""

from engines.answers.forced_calls import ForcedCalls
from engines.answers.thinking import ThinkingSplitter
from engines.base import Delta, FinishReason, TokenLogprob, ToolCallDelta
from engines.llamacpp.tools import CallReader
from engines.llamacpp.wire import Chunk

HELD_TOKEN = -1
"""Stands for a token whose id llama.cpp did not tell: one that ended inside a character."""


class ChoiceReader:
    """`add` its chunks in order, `take` what they made."""

    def __init__(
        self,
        index: int,
        top_logprobs: int | None,
        splitter: ThinkingSplitter | None = None,
        calls: ForcedCalls | CallReader | None = None,
    ) -> None:
        self._index = index
        self._top_logprobs = top_logprobs
        self._splitter = splitter
        self._calls = calls
        self._counted = self._delivered = 0
        self.cached_tokens = 0
        """Of its prompt."""
        self._thought_count = 0
        self._texts: list[str] = []
        self._thoughts: list[str] = []
        self._tool_calls: list[ToolCallDelta] = []
        self._logprobs: list[TokenLogprob] = []
        self._has_called = False
        self.finish_reason: FinishReason | None = None
        self.is_finished = False
        """The delta with the finish_reason was taken."""

    @property
    def has_begun(self) -> bool:
        return self._counted > 0

    @property
    def has_news(self) -> bool:
        """`take` may have something."""
        return bool(self._texts or self.finish_reason) and not self.is_finished

    @property
    def is_under_way(self) -> bool:
        """Its first delta was taken, and its next is not the last."""
        return self._delivered > 0 and self.finish_reason is None

    def add(self, chunk: Chunk) -> None:
        new_tokens = max(0, chunk.predicted - self._counted)
        self._counted += new_tokens
        self.finish_reason = chunk.finish_reason
        if self._top_logprobs is not None:
            self._logprobs += [lp.public(self._top_logprobs) for lp in chunk.logprobs]
        if self._splitter is not None or self._calls is not None:
            # A chunk of progress has no token, and says id 0.
            ids = chunk.tokens[:new_tokens]
            self._split(chunk.text, (HELD_TOKEN,) * (new_tokens - len(ids)) + ids)
        else:
            self._texts.append(chunk.text)

    def abort(self) -> None:
        self.finish_reason = "abort"
        self._split("", ())

    def take(self) -> Delta | None:
        """None while there is nothing to tell: the prompt is read, or text is held back."""
        text, thought = "".join(self._texts), "".join(self._thoughts)
        has_words = text or thought or self._tool_calls or self._logprobs
        if self.is_finished or not (has_words or self.finish_reason):
            return None
        is_first = self._delivered == 0 and self._index == 0
        self.is_finished = self.finish_reason is not None
        delta = Delta(
            index=self._index,
            text=text,
            token_count=self._counted - self._delivered,
            finish_reason=self._public_reason(),
            reasoning=thought,
            reasoning_token_count=self._thought_count,
            cached_tokens=self.cached_tokens if is_first else 0,
            tool_calls=tuple(self._tool_calls),
            logprobs=tuple(self._logprobs),
        )
        self._forget()
        return delta

    def _forget(self) -> None:
        self._delivered, self._thought_count = self._counted, 0
        for part in (self._texts, self._thoughts, self._tool_calls, self._logprobs):
            part.clear()

    def _public_reason(self) -> FinishReason | None:
        called = self._has_called and self.finish_reason == "stop"
        return "tool_calls" if called else self.finish_reason

    def _split(self, text: str, ids: tuple[int, ...]) -> None:
        is_last = self.finish_reason is not None
        if self._splitter is not None:
            thought, text, count = self._splitter.feed(text, ids, is_last)
            self._thoughts.append(thought)
            self._thought_count += count
        if self._calls is not None:
            text, calls = self._read_calls(text, is_last)
            self._tool_calls += calls
            self._has_called = self._has_called or bool(calls)
        self._texts.append(text)

    def _read_calls(self, text: str, is_last: bool) -> tuple[str, tuple[ToolCallDelta, ...]]:
        if isinstance(self._calls, ForcedCalls):
            return "", self._calls.feed(text)
        assert self._calls is not None
        return self._calls.feed(text, is_last)
