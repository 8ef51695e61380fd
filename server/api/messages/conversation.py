"""The turns of /v1/messages -> the messages that chat templates read."""

from collections.abc import Sequence
from typing import Any

import msgspec

from engines.answers.system_messages import leading_as_one
from server.api.chat.messages import assistant_thought, missing, text_only
from server.api.chat.tool_results import check_answered
from server.api.messages.wire_content import ContentBlock, MessageTurn, ResultBlock, SystemBlock
from server.errors import ApiError

BETWEEN = "\n\n"
"""Texts of one turn are blocks of their own: an agent's reminders stand beside what it is asked."""
_OF_A_USER = "text or tool_result"
_OF_AN_ASSISTANT = "text, thinking, redacted_thinking or tool_use"
_PICTURES = ("image", "document", "file", "container_upload")


def conversation(
    turns: Sequence[MessageTurn], system: str | Sequence[SystemBlock] | None
) -> list[dict[str, Any]]:
    """Turns of one role in a row are one. Raises ApiError 400 naming the block that cannot be
    read."""
    read = _Reader()
    for index, turn in enumerate(turns):
        field = f"messages[{index}].content"
        match turn.role:
            case "user":
                read.user(field, turn.content)
            case "system":
                read.system(field, turn.content)
            case "assistant":
                read.assistant(field, turn.content)
    first = _system(system)
    said = [{"role": "system", "content": first}] if first else []
    return leading_as_one([*said, *read.whole()])


def goes_on(turns: Sequence[MessageTurn]) -> bool:
    """Whether the answer goes on with the last turn: an assistant's that has no calls."""
    last = turns[-1]
    if last.role != "assistant" or isinstance(last.content, str):
        return last.role == "assistant"
    if any(block.type == "tool_use" for block in last.content):
        field = f"messages[{len(turns) - 1}].content"
        message = f"{field} calls tools, and their results are not there."
        raise ApiError.invalid(message, field, None, "a user's turn with each tool_result")
    return True


class _Reader:
    """Messages so far. The last one's texts and thoughts are put together once it is whole."""

    def __init__(self) -> None:
        self._messages: list[dict[str, Any]] = []
        self._called: set[str] = set()
        self._texts: list[str] = []
        self._thoughts: list[str] = []

    def whole(self) -> list[dict[str, Any]]:
        """All of them."""
        self._close()
        return self._messages

    def user(self, field: str, content: str | Sequence[ContentBlock]) -> None:
        if isinstance(content, str):
            self._said("user", content)
            return
        if not content:
            raise missing(field, "a text, or a block at least")
        for number, block in enumerate(content):
            place = f"{field}[{number}]"
            if block.type == "text":
                self._said("user", _text(place, block))
            elif block.type == "tool_result":
                self._result(place, block)
            else:
                raise _strange(place, block.type, _OF_A_USER)

    def system(self, field: str, content: str | Sequence[ContentBlock]) -> None:
        if isinstance(content, str):
            self._said("system", content)
            return
        self._open("system")
        for number, block in enumerate(content):
            self._said("system", _text(f"{field}[{number}]", block))

    def assistant(self, field: str, content: str | Sequence[ContentBlock]) -> None:
        if isinstance(content, str):
            self._said("assistant", content)
            return
        self._open("assistant")  # it may have no blocks, or none that are read
        for number, block in enumerate(content):
            self._answered(f"{field}[{number}]", block)

    def _answered(self, place: str, block: ContentBlock) -> None:
        match block.type:
            case "text":
                self._said("assistant", _text(place, block))
            case "tool_use":
                self._call(place, block)
            case "thinking":
                self._thought(block.thinking or "")
            case "redacted_thinking":
                pass
            case other:
                raise _strange(place, other, _OF_AN_ASSISTANT)

    def _said(self, role: str, text: str) -> None:
        self._open(role)
        self._texts.append(text)

    def _thought(self, text: str) -> None:
        self._open("assistant")
        self._thoughts.append(text)

    def _call(self, place: str, block: ContentBlock) -> None:
        if not block.id or not block.name:
            raise missing(f"{place}.{'name' if block.id else 'id'}", "a string")
        self._called.add(block.id)
        arguments = msgspec.json.encode(block.input or {}).decode()
        function = {"name": block.name, "arguments": arguments}
        call = {"id": block.id, "type": "function", "function": function}
        self._open("assistant").setdefault("tool_calls", []).append(call)

    def _result(self, place: str, block: ContentBlock) -> None:
        if not block.tool_use_id:
            raise missing(f"{place}.tool_use_id", "the id of a tool_use")
        check_answered(block.tool_use_id, self._called, f"{place}.tool_use_id")
        text = _result_text(f"{place}.content", block.content)
        if block.is_error:
            text = f"Error: {text}" if text else "Error"
        self._close()
        self._messages.append({"role": "tool", "tool_call_id": block.tool_use_id, "content": text})

    def _open(self, role: str) -> dict[str, Any]:
        """The last message, where it is of that role; else a new one."""
        if not self._messages or self._messages[-1]["role"] != role:
            self._close()
            self._messages.append({"role": role, "content": ""})
        return self._messages[-1]

    def _close(self) -> None:
        if self._texts:
            self._messages[-1]["content"] = BETWEEN.join(filter(None, self._texts))
        if thought := "".join(self._thoughts):
            assistant_thought(self._messages[-1], thought)
        self._texts, self._thoughts = [], []


def _system(system: str | Sequence[SystemBlock] | None) -> str:
    if system is None or isinstance(system, str):
        return system or ""
    return BETWEEN.join(_text(f"system[{i}]", block) for i, block in enumerate(system))


def _text(place: str, block: ContentBlock | SystemBlock | ResultBlock) -> str:
    if block.type != "text":
        raise _strange(place, block.type, "text")
    if block.text is None:
        raise missing(f"{place}.text", "a string")
    return block.text


def _result_text(place: str, content: str | Sequence[ResultBlock] | None) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    return BETWEEN.join(_text(f"{place}[{i}]", block) for i, block in enumerate(content))


def _strange(place: str, kind: str, expected: str) -> ApiError:
    if kind in _PICTURES:
        return text_only(f"{place}.type", kind, expected)
    message = f"{place} is of type {kind!r}; right would be {expected}."
    return ApiError.invalid(message, f"{place}.type", kind, expected)
