"""Ollama's messages -> chat's: calls have no ids there, and a result names its tool at most."""

import json
from collections.abc import Sequence

from server.api.chat.messages import text_only
from server.api.chat.wire import ChatMessage, FunctionCall, ToolCall
from server.api.ollama.wire import OllamaMessage, OllamaToolCall


def chat_messages(given: Sequence[OllamaMessage]) -> list[ChatMessage]:
    """Raises ApiError 400 for a picture."""
    calls = _Calls()
    return [_message(index, message, calls) for index, message in enumerate(given)]


class _Calls:
    """The calls that wait for their result, in the order in which they were made."""

    def __init__(self) -> None:
        self._made = 0
        self._open: list[tuple[str, str]] = []

    def made(self, call: OllamaToolCall) -> ToolCall:
        self._made += 1
        call_id = call.id or f"call_{self._made:08}"
        self._open.append((call_id, call.function.name))
        arguments = json.dumps(call.function.arguments, ensure_ascii=False)
        function = FunctionCall(name=call.function.name, arguments=arguments)
        return ToolCall(id=call_id, function=function)

    def answered(self, message: OllamaMessage) -> str:
        """Of which call a result is: by its id, else the first open one of its name, else the
        first. An id that nobody made is refused by whoever reads the chat."""
        if message.tool_call_id:
            self._open = [call for call in self._open if call[0] != message.tool_call_id]
            return message.tool_call_id
        for index, (call_id, name) in enumerate(self._open):
            if message.tool_name in (None, "", name):
                del self._open[index]
                return call_id
        return message.tool_name or "none"


def _message(index: int, message: OllamaMessage, calls: _Calls) -> ChatMessage:
    if message.images:
        raise text_only(f"messages[{index}].images", "a picture", "content alone")
    made = [calls.made(call) for call in message.tool_calls or ()]
    return ChatMessage(
        role=message.role,
        content=message.content or "",
        reasoning_content=message.thinking or None,
        tool_calls=made or None,
        tool_call_id=calls.answered(message) if message.role == "tool" else None,
    )
