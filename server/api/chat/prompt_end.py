"""Where a chat's prompt leaves off: before a new answer, or inside of one that goes on."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

from engines.base import PromptEnd, Reasoning
from engines.content import text_of
from server.api.chat.wire import ChatMessage
from server.errors import ApiError


class AsksForAnEnd(Protocol):
    """What chat and tokenize have of it."""

    @property
    def add_generation_prompt(self) -> bool | None: ...
    @property
    def continue_final_message(self) -> bool | None: ...


def prompt_end(wire: AsksForAnEnd, messages: Sequence[ChatMessage]) -> PromptEnd:
    """By vLLM's fields, or DeepSeek's and Mistral's `prefix` of the last message. Raises ApiError
    400 where there is nothing to go on with."""
    field = _continuing(wire, messages)
    if field is None:
        return "message" if wire.add_generation_prompt is False else "answer"
    if wire.add_generation_prompt:
        message = f"{field} and add_generation_prompt exclude each other."
        raise ApiError.invalid(message, "add_generation_prompt", True, "false, or left out")
    if messages[-1].role != "assistant":
        role = messages[-1].role
        message = f"{field} goes on with the last message, which is a {role} message."
        raise ApiError.invalid(message, field, role, "an assistant message at the end")
    return "inside_message"


def _continuing(wire: AsksForAnEnd, messages: Sequence[ChatMessage]) -> str | None:
    """The field that asks for it."""
    for i, m in enumerate(messages[:-1]):
        if m.prefix:
            field = f"messages[{i}].prefix"
            message = f"{field}: only the last message can be gone on with."
            raise ApiError.invalid(message, field, True, "false, or the last message")
    if messages[-1].prefix:
        return f"messages[{len(messages) - 1}].prefix"
    return "continue_final_message" if wire.continue_final_message else None


def reasoning_at(
    end: PromptEnd, reasoning: Reasoning | None, messages: Sequence[dict[str, Any]]
) -> Reasoning | None:
    """What goes on with an answer thinks only where that answer does."""
    if reasoning is None or end != "inside_message":
        return reasoning
    text = text_of(messages[-1]["content"])
    is_open = text.rfind(reasoning.start) > text.rfind(reasoning.end)
    return replace(reasoning, opened_by="template" if is_open else "model")
