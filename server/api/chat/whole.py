"""A whole answer is the fold of its stream: deltas in, one choice per index out."""

from dataclasses import dataclass, field
from typing import cast

import msgspec

from engines.base import Delta, FinishReason, TokenLogprob, ToolCallDelta, Usage
from server.api.chat.stream import answer_logprobs, logprobs_body, usage_body
from server.api.chat.wire_answers import (
    CalledFunction,
    ChatCompletion,
    Choice,
    Message,
    ShownFinishReason,
    ToolCall,
)


@dataclass(slots=True)
class ChoiceFold:
    """One choice, complete once it has a finish_reason."""

    text: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    tool_calls: dict[int, list[ToolCallDelta]] = field(default_factory=dict)
    logprobs: list[TokenLogprob] = field(default_factory=list)
    finish_reason: FinishReason | None = None
    shows_reasoning: bool = True

    def add(self, d: Delta) -> None:
        """Take one delta of this choice."""
        self.text.append(d.text)
        if d.reasoning and self.shows_reasoning:
            self.reasoning.append(d.reasoning)
        for c in d.tool_calls:
            self.tool_calls.setdefault(c.index, []).append(c)
        self.logprobs.extend(answer_logprobs(d))
        self.finish_reason = d.finish_reason or self.finish_reason

    def message(self) -> Message:
        """The assistant's message; tool calls and reasoning only where there are any."""
        text = "".join(self.text)
        calls = [_tool_call(c) for _, c in sorted(self.tool_calls.items())]
        message: Message = {"role": "assistant", "content": text}
        if calls:
            message |= {"content": text or None, "tool_calls": calls}
        if self.reasoning:
            message["reasoning_content"] = "".join(self.reasoning)
        return message


class ChatAnswer:
    """The body of one whole chat answer."""

    __slots__ = ("_alias", "_choices", "_created", "_id")

    def __init__(
        self, answer_id: str, created: int, alias: str, n: int, shows_reasoning: bool = True
    ) -> None:
        self._id = answer_id
        self._created = created
        self._alias = alias
        self._choices = [ChoiceFold(shows_reasoning=shows_reasoning) for _ in range(n)]

    def add(self, d: Delta) -> None:
        """Take one delta of any choice."""
        self._choices[d.index].add(d)

    def body(self, usage: Usage) -> bytes:
        """The documented shape; optional members only where they say something."""
        out: ChatCompletion = {
            "id": self._id,
            "object": "chat.completion",
            "created": self._created,
            "model": self._alias,
            "choices": [_choice_body(i, c) for i, c in enumerate(self._choices)],
            "usage": usage_body(usage),
        }
        if trace := "".join(self._choices[0].reasoning):
            out["model_output_metadata"] = {"reasoning": trace}
        return msgspec.json.encode(out)


def _choice_body(index: int, choice: ChoiceFold) -> Choice:
    end, message = cast(ShownFinishReason, choice.finish_reason), choice.message()
    if not choice.logprobs:
        return {"index": index, "message": message, "finish_reason": end}
    logprobs = logprobs_body(tuple(choice.logprobs))
    return {"index": index, "message": message, "logprobs": logprobs, "finish_reason": end}


def _tool_call(pieces: list[ToolCallDelta]) -> ToolCall:
    first, arguments = pieces[0], "".join(piece.arguments for piece in pieces)
    function: CalledFunction = {"name": first.name or "", "arguments": arguments}
    return {"id": first.id or "", "type": "function", "function": function}
