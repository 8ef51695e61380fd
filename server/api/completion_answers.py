"""Answers of /v1/completions: deltas to the chunks of a stream, or to one body."""

from collections.abc import Callable, Sequence
from typing import Annotated, Literal, NamedTuple, NotRequired, cast

import msgspec
from pydantic import Field
from typing_extensions import TypedDict

from engines.base import Delta, FinishReason, TokenLogprob, Usage
from server.api.chat import wire_answers
from server.api.chat.metered import at_the_beginning, usage_tail
from server.api.chat.stream import DONE, event, usage_body
from server.api.chat.wire_answers import ShownFinishReason
from server.api.completion_logprobs import (
    LegacyLogprobs,
    logprobs_body,
    prompt_body,
    prompt_text,
)
from server.error_body import Error

_json = msgspec.json.Encoder().encode


class TextChoice(TypedDict):
    text: str
    index: int
    logprobs: LegacyLogprobs | None
    finish_reason: ShownFinishReason | None


class CompletionMembers(TypedDict):
    """What all chunks of a completion share."""

    id: Annotated[str, Field(examples=["cmpl-abc123"])]
    object: Literal["text_completion"]
    created: int
    model: str


class Completion(CompletionMembers):
    """A whole completion, or a chunk of a streamed one."""

    choices: list[TextChoice]
    usage: NotRequired[wire_answers.Usage | None]


class Echo(NamedTuple):
    """The prompt before one choice."""

    text: str = ""
    """As it came, where it was a text of which all is read."""
    is_told: bool = False
    """It comes with what the engine tells of the prompt's tokens."""

    def told(self, tokens: Sequence[TokenLogprob]) -> str:
        return self.text or prompt_text(tokens)

    def logprobs(self, tokens: Sequence[TokenLogprob]) -> LegacyLogprobs:
        """The tokens' places are in `told`: what a tokenizer puts before a text has none."""
        text = prompt_text(tokens)
        before = len(text) - len(self.text) if self.text and text.endswith(self.text) else 0
        return prompt_body(tokens, before)


class CompletionStream:
    """The chunks of one streamed completion."""

    __slots__ = (
        "_echoes",
        "_head",
        "_include_usage",
        "_offsets",
        "_shows_logprobs",
        "_tail",
        "_text",
    )

    def __init__(
        self,
        members: CompletionMembers,
        echoes: Sequence[Echo],
        include_usage: bool,
        shows_logprobs: bool = False,
    ) -> None:
        self._head = b"data: " + msgspec.json.encode(members)[:-1]
        self._tail = b',"usage":null}\n\n' if include_usage else b"}\n\n"
        self._include_usage = include_usage
        self._shows_logprobs = shows_logprobs
        self._echoes = echoes
        self._offsets = [0] * len(echoes)
        ending = b',"index":%d,"logprobs":null,"finish_reason":null}]'
        self._text = [
            (self._head + b',"choices":[{"text":', ending % i + self._tail)
            for i in range(len(echoes))
        ]

    def open(self) -> bytes:
        """The prompts, where they are to be echoed as they came."""
        return b"".join(
            self._chunk(i, echo.text)
            for i, echo in enumerate(self._echoes)
            if echo.text and not echo.is_told
        )

    def delta(self, d: Delta) -> bytes:
        if d.text and not (d.finish_reason or d.logprobs):
            return self._text[d.index][0] + _json(d.text) + self._text[d.index][1]
        return self._said(d)

    def close(self, usage: Usage) -> bytes:
        if not self._include_usage:
            return DONE
        body = msgspec.json.encode(usage_body(usage))
        return self._head + b',"choices":[],"usage":' + body + b"}\n\n" + DONE

    def fail(self, body: Error) -> bytes:
        return event(body) + DONE

    def _said(self, d: Delta) -> bytes:
        if not (d.text or d.logprobs or d.finish_reason):
            return b""
        logprobs = logprobs_body(d.logprobs, self._offsets[d.index]) if d.logprobs else None
        self._offsets[d.index] += sum(len(x.token) for x in d.logprobs)
        return self._chunk(d.index, d.text, logprobs, d.finish_reason)

    def _told(self, d: Delta) -> bytes:
        """The prompt, as the engine tells it with a choice's first delta."""
        if not d.prompt_logprobs:
            return b""
        echo = self._echoes[d.index]
        text = echo.told(d.prompt_logprobs)
        self._offsets[d.index] = len(text)
        logprobs = echo.logprobs(d.prompt_logprobs) if self._shows_logprobs else None
        return self._chunk(d.index, text, logprobs)

    def _chunk(
        self,
        index: int,
        text: str,
        logprobs: LegacyLogprobs | None = None,
        finish_reason: FinishReason | None = None,
    ) -> bytes:
        choice = _choice_body(index, text, logprobs, finish_reason)
        return self._head + b',"choices":[' + msgspec.json.encode(choice) + b"]" + self._tail


class EchoingCompletionStream(CompletionStream):
    """One whose prompts the engine tells."""

    __slots__ = ()

    def delta(self, d: Delta) -> bytes:
        return self._told(d) + self._said(d)


class MeteredCompletionStream(CompletionStream):
    """One whose every chunk has the usage so far, of all choices together."""

    __slots__ = ("_usage",)

    _usage: Callable[[], Usage]

    def follow(self, usage: Callable[[], Usage]) -> None:
        self._usage = usage

    def open(self) -> bytes:
        self._tail = usage_tail(at_the_beginning(self._usage()))
        return super().open()

    def delta(self, d: Delta) -> bytes:
        self._tail = usage_tail(self._usage())
        return self._told(d) + self._said(d)


class CompletionAnswer:
    """The body of one whole completion."""

    __slots__ = ("_choices", "_members")

    def __init__(
        self, members: CompletionMembers, echoes: Sequence[Echo], shows_logprobs: bool = False
    ) -> None:
        self._members = members
        self._choices = [_Choice(echo, shows_logprobs) for echo in echoes]

    def add(self, d: Delta) -> None:
        self._choices[d.index].add(d)

    def body(self, usage: Usage) -> bytes:
        choices = [choice.body(i) for i, choice in enumerate(self._choices)]
        answer: Completion = {**self._members, "choices": choices, "usage": usage_body(usage)}
        return msgspec.json.encode(answer)


class _Choice:
    def __init__(self, echo: Echo, shows_logprobs: bool) -> None:
        self.echo = echo
        self.text: list[str] = []
        self.shows_logprobs = shows_logprobs
        self.prompt: tuple[TokenLogprob, ...] = ()
        self.logprobs: list[TokenLogprob] = []
        self.finish_reason: FinishReason | None = None

    def add(self, d: Delta) -> None:
        if d.prompt_logprobs:
            self.prompt = d.prompt_logprobs
        self.text.append(d.text)
        self.logprobs.extend(d.logprobs)
        self.finish_reason = d.finish_reason or self.finish_reason

    def body(self, index: int) -> TextChoice:
        before = self.echo.told(self.prompt)
        return _choice_body(
            index, before + "".join(self.text), self._logprobs(len(before)), self.finish_reason
        )

    def _logprobs(self, offset: int) -> LegacyLogprobs | None:
        if not self.shows_logprobs or not (self.prompt or self.logprobs):
            return None
        of_prompt, own = self.echo.logprobs(self.prompt), logprobs_body(self.logprobs, offset)
        return {
            "tokens": of_prompt["tokens"] + own["tokens"],
            "token_logprobs": of_prompt["token_logprobs"] + own["token_logprobs"],
            "top_logprobs": of_prompt["top_logprobs"] + own["top_logprobs"],
            "text_offset": of_prompt["text_offset"] + own["text_offset"],
        }


def _choice_body(
    index: int, text: str, logprobs: LegacyLogprobs | None, finish_reason: FinishReason | None
) -> TextChoice:
    end = cast(ShownFinishReason | None, finish_reason)
    return {"text": text, "index": index, "logprobs": logprobs, "finish_reason": end}
