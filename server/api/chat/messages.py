"""Chat messages of the wire -> the plain dicts that chat templates read."""

from collections.abc import Sequence
from typing import Any

from engines.answers.system_messages import leading_as_one
from engines.registry.spec import ModelSpec
from server.api.chat.tool_results import check_tool_messages
from server.api.chat.wire import ChatMessage, ToolCall
from server.api.chat.wire_parts import ContentPart, ImageUrl
from server.api.fields import MESSAGE, refuse
from server.errors import ApiError
from server.pictures.given import GivenPicture, Place, check_pictures, text_only


def messages(given: Sequence[ChatMessage], spec: ModelSpec) -> list[dict[str, Any]]:
    """Raises ApiError 400 where a message holds what the model cannot read."""
    read = leading_as_one([_message(i, m) for i, m in enumerate(given)])
    check_pictures(read, spec)
    check_tool_messages(given)
    return with_system_prompt(read, spec)


def with_system_prompt(given: list[dict[str, Any]], spec: ModelSpec) -> list[dict[str, Any]]:
    """The alias' own system prompt first, where the request brings none."""
    if spec.system_prompt and all(m["role"] != "system" for m in given):
        return [{"role": "system", "content": spec.system_prompt}, *given]
    return given


def assistant_thought(message: dict[str, Any], reasoning: str) -> None:
    """Give an earlier thought back to the template: under the name that templates read, and under
    the one that vLLM passes on to them."""
    message["reasoning_content"] = message["reasoning"] = reasoning


def missing(field: str, expected: str) -> ApiError:
    return ApiError.invalid(f"Missing required field: {field}.", field, None, expected)


def _message(index: int, m: ChatMessage) -> dict[str, Any]:
    if m.model_extra:
        refuse(m.model_extra, MESSAGE, f"messages[{index}].")
    role = "system" if m.role == "developer" else m.role
    out: dict[str, Any] = {"role": role, "content": _content(f"messages[{index}].content", m)}
    if m.name:
        out["name"] = m.name
    if m.tool_calls:
        out["tool_calls"] = [_tool_call(c) for c in m.tool_calls]
    if m.tool_call_id:
        out["tool_call_id"] = m.tool_call_id
    if m.role == "tool" and not m.tool_call_id:
        raise missing(f"messages[{index}].tool_call_id", "a tool call's id")
    if m.role == "assistant" and (thought := m.reasoning_content or m.reasoning):
        assistant_thought(out, thought)
    return out


def _tool_call(c: ToolCall) -> dict[str, Any]:
    function = {"name": c.function.name, "arguments": c.function.arguments}
    return {"id": c.id, "type": c.type, "function": function}


def _content(field: str, m: ChatMessage) -> str | list[dict[str, Any]]:
    """With pictures its parts, else a text."""
    refusal = m.refusal or ""
    if isinstance(m.content, str):
        return m.content + refusal
    if m.content is not None and any(part.type == "image_url" for part in m.content):
        return [_seen(f"{field}[{k}]", part, m.role) for k, part in enumerate(m.content)]
    if m.content is not None:
        parts = (_part(f"{field}[{k}]", part) for k, part in enumerate(m.content))
        return "".join(parts) + refusal
    if m.role == "assistant":
        return refusal
    raise missing(field, "a string or an array of content parts")


def _seen(field: str, part: ContentPart, role: str) -> dict[str, Any]:
    """A part of a content with pictures."""
    if part.type != "image_url":
        return {"type": "text", "text": _part(field, part)}
    given, named = part.image_url, f"{field}.image_url"
    if isinstance(given, ImageUrl):
        own = Place(
            part=field,
            kind="image_url",
            field=f"{named}.url",
            role=role,
            detail_field=f"{named}.detail",
        )
        return GivenPicture(given.place or own, given.url, detail=given.detail).content
    return GivenPicture(Place(part=field, kind="image_url", field=named, role=role), given).content


def _part(field: str, part: ContentPart) -> str:
    if part.type not in ("text", "refusal"):
        raise text_only(f"{field}.type", part.type, "text")
    text = part.text if part.type == "text" else part.refusal
    if text is None:
        raise missing(f"{field}.{part.type}", "a string")
    return text
