"""The turns of /v1/messages -> the messages that chat templates read."""

from collections.abc import Sequence
from typing import Any

import msgspec

from engines.answers.system_messages import leading_as_one
from engines.content import joined
from server.api.chat.messages import assistant_thought, missing
from server.api.chat.tool_results import check_answered
from server.api.messages.wire_content import (
    ContentBlock,
    ImageSource,
    MessageTurn,
    ResultBlock,
    SystemBlock,
)
from server.errors import ApiError
from server.pictures.given import GivenPicture, Place, text_only

Part = dict[str, Any]
BETWEEN = "\n\n"
"""Texts of one turn are blocks of their own: an agent's reminders stand beside what it is asked."""
_OF_A_USER = "text or tool_result, or image where the model reads pictures"
_TEXT_OR_RESULT = "text or tool_result"
_OF_AN_ASSISTANT = "text, thinking, redacted_thinking or tool_use"
_PICTURE = "image"
_UNREAD = (_PICTURE, "document", "file", "container_upload")


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
        self._said_parts: list[str | Part] = []
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
            elif block.type == _PICTURE:
                self._said("user", _picture(place, block.source, "user", _TEXT_OR_RESULT))
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

    def _said(self, role: str, said: str | Part) -> None:
        self._open(role)
        self._said_parts.append(said)

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
        said = _result(f"{place}.content", block.content)
        if block.is_error:
            said = joined("Error: ", "", said) if said else "Error"
        self._close()
        self._messages.append({"role": "tool", "tool_call_id": block.tool_use_id, "content": said})

    def _open(self, role: str) -> dict[str, Any]:
        """The last message, where it is of that role; else a new one."""
        if not self._messages or self._messages[-1]["role"] != role:
            self._close()
            self._messages.append({"role": role, "content": ""})
        return self._messages[-1]

    def _close(self) -> None:
        if self._said_parts:
            self._messages[-1]["content"] = _content(self._said_parts)
        if thought := "".join(self._thoughts):
            assistant_thought(self._messages[-1], thought)
        self._said_parts, self._thoughts = [], []


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


def _result(place: str, content: str | Sequence[ResultBlock] | None) -> str | list[Part]:
    if content is None or isinstance(content, str):
        return content or ""
    return _content([_piece(f"{place}[{i}]", block) for i, block in enumerate(content)])


def _piece(place: str, block: ResultBlock) -> str | Part:
    if block.type == _PICTURE:
        return _picture(place, block.source, "tool", "text")
    return _text(place, block)


def _content(said: Sequence[str | Part]) -> str | list[Part]:
    """A text, or with pictures its parts; texts in a row are one."""
    if all(isinstance(each, str) for each in said):
        return BETWEEN.join(filter(None, map(str, said)))
    parts: list[Part] = []
    for each in said:
        if not isinstance(each, str):
            parts.append(each)
        elif not each:
            continue
        elif parts and parts[-1]["type"] == "text":
            parts[-1]["text"] += BETWEEN + each
        else:
            parts.append({"type": "text", "text": each})
    return parts


def _picture(place: str, source: ImageSource | None, role: str, instead: str) -> Part:
    """Where its source is missing, or of a type that is not read, neither is there."""
    is_url = source is not None and source.type == "url"
    field = f"{place}.source.{'url' if is_url else 'data'}"
    stands = Place(part=place, kind=_PICTURE, field=field, role=role, instead=instead)
    if source is None or source.type not in ("url", "base64"):
        return GivenPicture(stands).content
    if is_url:
        return GivenPicture(stands, source.url).content
    return GivenPicture(stands, data=source.data, media_type=source.media_type).content


def _strange(place: str, kind: str, expected: str) -> ApiError:
    if kind in _UNREAD:
        return text_only(f"{place}.type", kind, expected)
    message = f"{place} is of type {kind!r}; right would be {expected}."
    return ApiError.invalid(message, f"{place}.type", kind, expected)
