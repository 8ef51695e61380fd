"""Which call a tool's answer answers: each must answer one that the assistant made before it."""

from collections.abc import Sequence

from server.api.chat.wire import ChatMessage
from server.errors import ApiError


def check_tool_messages(messages: Sequence[ChatMessage]) -> None:
    """Raises ApiError 400 where an answer has no call, or a call stands in another role. Calls may
    wait for their answer, and an id may come again."""
    made: set[str] = set()
    for index, message in enumerate(messages):
        field = f"messages[{index}]"
        if message.tool_calls and message.role != "assistant":
            raise _misplaced(f"{field}.tool_calls", message.role, "the role assistant")
        if message.tool_call_id and message.role != "tool":
            raise _misplaced(f"{field}.tool_call_id", message.role, "the role tool")
        made.update(call.id for call in message.tool_calls or ())
        if message.role == "tool":
            check_answered(message.tool_call_id, made, f"{field}.tool_call_id")


def check_answered(call_id: str | None, made: set[str], field: str) -> None:
    """Raises ApiError 400 where no such call was made before."""
    if call_id and call_id not in made:
        message = f"{field} answers no call of the assistant's before it: {call_id!r}."
        raise ApiError.invalid(message, field, call_id, "the id of a call before it")


def _misplaced(field: str, role: str, expected: str) -> ApiError:
    message = f"{field} stands in a message of the role {role}; it belongs to {expected}."
    return ApiError.invalid(message, field, role, expected)
