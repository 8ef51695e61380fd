"""The items of a /v1/responses conversation -> the messages that chat templates read."""

import json
from collections.abc import Sequence
from typing import Any

from engines.answers.system_messages import leading_as_one
from server.api.chat.messages import assistant_thought, missing
from server.api.chat.tool_results import check_answered
from server.api.responses.tools import SEARCH, found_names, name_in
from server.api.responses.wire import InputItem, InputPart
from server.errors import ApiError
from server.pictures.given import GivenPicture, Place, text_only

_TEXTS = {"input_text": "text", "output_text": "text", "text": "text", "refusal": "refusal"}
_RUN_ELSEWHERE = ("web_search_call", "image_generation_call")
"""Accepted and passed over: what another server's own tool did; nothing in them is a text."""
_KINDS = (
    "message, reasoning, function_call, custom_tool_call, local_shell_call, tool_search_call, "
    "the output of a call, or additional_tools"
)
PICTURE = "input_image"
Parts = list[dict[str, Any]]
_THOUGHTS = {"reasoning_text": "text", "summary_text": "text"}


def conversation(
    given: str | Sequence[InputItem],
    instructions: str | None,
    earlier: Sequence[InputItem] = (),
) -> list[dict[str, Any]]:
    """`earlier`: what is kept of the conversation. Raises ApiError 400 naming the item that cannot
    be read."""
    turns = Turns()
    for i, item in enumerate(earlier):
        turns.take(f"earlier[{i}]", item)
    if isinstance(given, str):
        turns.add({"role": "user", "content": given})
    else:
        for i, item in enumerate(given):
            turns.take(f"input[{i}]", item)
    return _instructed(turns.messages, instructions)


def _instructed(messages: list[dict[str, Any]], instructions: str | None) -> list[dict[str, Any]]:
    """One system message at most stands first: many templates have room for no more."""
    messages = leading_as_one(messages)
    if not instructions:
        return messages
    first, rest = instructions, messages
    if messages and messages[0]["role"] == "system":
        first, rest = f"{instructions}\n\n{messages[0]['content']}", messages[1:]
    return [{"role": "system", "content": first}, *rest]


class Turns:
    """Messages so far. What the assistant thought, said and called in one go is one message."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self._thought = ""
        self._made: set[str] = set()
        """Ids of the calls so far."""

    def take(self, field: str, item: InputItem) -> None:
        match item.type or "message":
            case "message":
                self._message(field, item)
            case "reasoning":
                self._thought += _thought(field, item)
            case "function_call":
                self._call(field, item, _written(field, item))
            case "custom_tool_call":
                self._call(field, item, _json({"input": item.input or ""}))
            case "local_shell_call":
                self._call(field, item, _json(item.action or {}), "local_shell")
            case "tool_search_call" | "tool_search_output" if item.execution == "server":
                pass
            case "tool_search_call":
                self._call(field, item, _json(item.arguments or {}), SEARCH)
            case "tool_search_output":
                self._found(field, item)
            case "function_call_output" | "custom_tool_call_output" | "local_shell_call_output":
                self._output(field, item)
            case kind if kind in _RUN_ELSEWHERE or kind == "additional_tools":
                pass
            case "item_reference":
                message = f"{field} refers to a stored item; nothing is kept here."
                raise ApiError.invalid(message, f"{field}.type", item.type, "the item itself")
            case other:
                message = f"{field} is of type {other!r}; right would be {_KINDS}."
                raise ApiError.invalid(message, f"{field}.type", other, _KINDS)

    def add(self, message: dict[str, Any]) -> None:
        if message["role"] == "assistant" and self._thought:
            assistant_thought(message, self._thought)
        self._thought = ""
        self.messages.append(message)

    def _message(self, field: str, item: InputItem) -> None:
        if item.role is None:
            raise missing(f"{field}.role", "user, assistant, system or developer")
        role = "system" if item.role == "developer" else item.role
        self.add({"role": role, "content": _content(f"{field}.content", item.content, role)})

    def _call(self, field: str, item: InputItem, arguments: str, name: str | None = None) -> None:
        """`name` stands for one that items of the kind do not have."""
        name = name or name_in(item.namespace, item.name or "")
        if not (item.call_id and name):
            raise missing(f"{field}.{'name' if item.call_id else 'call_id'}", "a string")
        last = self.messages[-1] if self.messages else None
        if last is None or last["role"] != "assistant" or self._thought:
            self.add({"role": "assistant", "content": ""})
        function = {"name": name, "arguments": arguments}
        call = {"id": item.call_id, "type": "function", "function": function}
        self.messages[-1].setdefault("tool_calls", []).append(call)
        self._made.add(item.call_id)

    def _output(self, field: str, item: InputItem) -> None:
        call_id = item.call_id or (item.id if item.type == "local_shell_call_output" else None)
        self._answer(field, call_id, _content(f"{field}.output", item.output, "tool"))

    def _found(self, field: str, item: InputItem) -> None:
        """What was found is offered like the request's own tools (tools.py); here is its name."""
        names = ", ".join(found_names(item))
        self._answer(field, item.call_id, f"Found: {names}." if names else "Found nothing.")

    def _answer(self, field: str, call_id: str | None, content: str | Parts) -> None:
        if not call_id:
            raise missing(f"{field}.call_id", "the call_id of the call")
        check_answered(call_id, self._made, f"{field}.call_id")
        self.add({"role": "tool", "tool_call_id": call_id, "content": content})


def _written(field: str, item: InputItem) -> str:
    if isinstance(item.arguments, dict):
        message = f"{field}.arguments is an object; right would be a string."
        raise ApiError.invalid(message, f"{field}.arguments", "an object", "a string of JSON")
    return item.arguments or "{}"


def _json(arguments: str | dict[str, Any]) -> str:
    return arguments if isinstance(arguments, str) else json.dumps(arguments)


def _content(field: str, content: str | Sequence[InputPart] | None, role: str) -> str | Parts:
    """With pictures its parts, else a text."""
    if content is None:
        raise missing(field, "a string or an array of content parts")
    if isinstance(content, str):
        return content
    if any(part.type == PICTURE for part in content):
        return [_seen(f"{field}[{k}]", part, role) for k, part in enumerate(content)]
    return "".join(_part(f"{field}[{k}]", part, _TEXTS) for k, part in enumerate(content))


def _seen(field: str, part: InputPart, role: str) -> dict[str, Any]:
    """A part of a content with pictures."""
    if part.type != PICTURE:
        return {"type": "text", "text": _part(field, part, _TEXTS)}
    named = f"{field}.image_url"
    place = Place(
        part=field,
        kind=PICTURE,
        field=named,
        role=role,
        instead=" or ".join(_TEXTS),
        detail_field=f"{field}.detail",
    )
    return GivenPicture(place, part.image_url, detail=part.detail).content


def _thought(field: str, item: InputItem) -> str:
    parts = item.content or item.summary or ()
    if isinstance(parts, str):
        return parts
    name = f"{field}.{'content' if item.content else 'summary'}"
    return "".join(_part(f"{name}[{k}]", part, _THOUGHTS) for k, part in enumerate(parts))


def _part(field: str, part: InputPart, kinds: dict[str, str]) -> str:
    if part.type not in kinds:
        raise text_only(f"{field}.type", part.type, " or ".join(kinds))
    name = kinds[part.type]
    text = part.text if name == "text" else part.refusal
    if text is None:
        raise missing(f"{field}.{name}", "a string")
    return text
