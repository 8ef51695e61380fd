"""A whole answer is the fold of its stream: deltas in, one choice per index out."""

from dataclasses import dataclass, field
from typing import Any

import msgspec

from engines.base import Delta, TokenLogprob, Usage
from server.api.chat.stream import answer_logprobs, logprobs_body, usage_body


@dataclass(slots=True)
class Choice:
    """One choice, complete once it has a finish_reason."""

    text: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    tool_calls: dict[int, dict[str, Any]] = field(default_factory=dict)
    logprobs: list[TokenLogprob] = field(default_factory=list)
    finish_reason: str | None = None

    def add(self, d: Delta) -> None:
        """Take one delta of this choice."""
        self.text.append(d.text)
        if d.reasoning:
            self.reasoning.append(d.reasoning)
        for c in d.tool_calls:
            call = self.tool_calls.setdefault(
                c.index, {"id": c.id, "name": c.name, "arguments": []}
            )
            call["arguments"].append(c.arguments)
        self.logprobs.extend(answer_logprobs(d))
        self.finish_reason = d.finish_reason or self.finish_reason

    def message(self) -> dict[str, Any]:
        """The assistant's message; tool calls and reasoning only where there are any."""
        text = "".join(self.text)
        calls = [_tool_call(c) for _, c in sorted(self.tool_calls.items())]
        message: dict[str, Any] = {"role": "assistant", "content": text}
        if calls:
            message |= {"content": text or None, "tool_calls": calls}
        if self.reasoning:
            message["reasoning_content"] = "".join(self.reasoning)
        return message


class ChatAnswer:
    """The body of one whole chat answer."""

    __slots__ = ("_alias", "_choices", "_created", "_id")

    def __init__(self, answer_id: str, created: int, alias: str, n: int) -> None:
        self._id = answer_id
        self._created = created
        self._alias = alias
        self._choices = [Choice() for _ in range(n)]

    def add(self, d: Delta) -> None:
        """Take one delta of any choice."""
        self._choices[d.index].add(d)

    def body(self, usage: Usage) -> bytes:
        """The documented shape; optional members only where they say something."""
        out: dict[str, Any] = {
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


def _choice_body(index: int, choice: Choice) -> dict[str, Any]:
    body: dict[str, Any] = {"index": index, "message": choice.message()}
    if choice.logprobs:
        body["logprobs"] = logprobs_body(tuple(choice.logprobs))
    body["finish_reason"] = choice.finish_reason
    return body


def _tool_call(call: dict[str, Any]) -> dict[str, Any]:
    function = {"name": call["name"], "arguments": "".join(call["arguments"])}
    return {"id": call["id"], "type": "function", "function": function}
