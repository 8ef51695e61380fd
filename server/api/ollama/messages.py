"""Ollama's messages -> chat's: calls have no ids there, and a result names its tool at most."""

from collections import defaultdict, deque
from collections.abc import Sequence

import msgspec

from server.api.chat.wire import ChatMessage, FunctionCall, ToolCall
from server.api.chat.wire_parts import ContentPart, ImageUrl
from server.api.ollama.wire_messages import OllamaMessage, OllamaToolCall
from server.pictures.given import Place


def chat_messages(given: Sequence[OllamaMessage]) -> list[ChatMessage]:
    calls = _Calls()
    return [_message(index, message, calls) for index, message in enumerate(given)]


class _Calls:
    """The calls that wait for their result, in the order in which they were made."""

    def __init__(self) -> None:
        self._made = 0
        self._open: dict[str, str] = {}
        """id -> the tool's name."""
        self._by_name: defaultdict[str, deque[str]] = defaultdict(deque)
        """The ids of each; some of them may be answered by now."""

    def made(self, call: OllamaToolCall) -> ToolCall:
        self._made += 1
        name = call.function.name
        call_id = call.id or f"call_{self._made:08}"
        self._open[call_id] = name
        self._by_name[name].append(call_id)
        arguments = msgspec.json.encode(call.function.arguments).decode()
        return ToolCall(id=call_id, function=FunctionCall(name=name, arguments=arguments))

    def answered(self, message: OllamaMessage) -> str:
        """Of which call a result is: by its id, else the first open one of its name, else the
        first. An id that nobody made is refused by whoever reads the chat."""
        found = message.tool_call_id or self._first(message.tool_name or "")
        self._open.pop(found, None)
        return found

    def _first(self, name: str) -> str:
        if not name:
            return next(iter(self._open), "none")
        made = self._by_name.get(name, deque())
        while made and made[0] not in self._open:
            made.popleft()
        return made[0] if made else name


def content_with(
    field: str, images: Sequence[str] | None, text: str, *, role: str = "user", instead: str
) -> str | list[ContentPart]:
    """The pictures first, as Ollama's own templates have them. A data URL is taken, too."""
    if not images:
        return text
    seen = [_picture(f"{field}[{k}]", field, data, role, instead) for k, data in enumerate(images)]
    return [*seen, *([ContentPart(type="text", text=text)] if text else [])]


def _picture(at: str, field: str, data: str, role: str, instead: str) -> ContentPart:
    place = Place(part=at, kind="a picture", field=at, role=role, instead=instead, type_field=field)
    url = data if data[:5].lower() == "data:" else f"data:image/png;base64,{data}"
    return ContentPart(type="image_url", image_url=ImageUrl.at(place, url))


def _message(index: int, message: OllamaMessage, calls: _Calls) -> ChatMessage:
    made = [calls.made(call) for call in message.tool_calls or ()]
    return ChatMessage(
        role=message.role,
        content=content_with(
            f"messages[{index}].images",
            message.images,
            message.content or "",
            role=message.role,
            instead="content alone",
        ),
        reasoning_content=message.thinking or None,
        tool_calls=made or None,
        tool_call_id=calls.answered(message) if message.role == "tool" else None,
    )
