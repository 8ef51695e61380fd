"""Items as they are kept: with ids of ours, their content in parts; and read again."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
from pydantic import TypeAdapter

from server.api.responses.wire import InputItem
from server.ids import new_id
from server.memory.conversations import KeptItem

_PREFIXES: Final = {
    "message": "msg",
    "reasoning": "rs",
    "function_call": "fc",
    "custom_tool_call": "ctc",
    "tool_search_call": "tsc",
}
_ITEMS: TypeAdapter[list[InputItem]] = TypeAdapter(list[InputItem])


def input_items(given: str | Sequence[InputItem]) -> list[dict[str, Any]]:
    """What a request was given, item by item; references to others are left out."""
    if isinstance(given, str):
        text = {"type": "input_text", "text": given}
        return [{"id": _id("message"), **_message("user", [text])}]
    return [_kept(item) for item in given if item.type != "item_reference"]


def _kept(item: InputItem) -> dict[str, Any]:
    told: dict[str, Any] = item.model_dump(mode="json", by_alias=True, exclude_none=True)
    kind = told.pop("type", "message")
    told.pop("id", None)
    if kind == "message":
        return {"id": _id(kind), **told, **_message(told["role"], told["content"])}
    return {"id": _id(kind), **told, "type": kind}


def _message(role: str, content: Any) -> dict[str, Any]:
    if isinstance(content, str):
        kind = "output_text" if role == "assistant" else "input_text"
        content = [{"type": kind, "text": content}]
    return {"type": "message", "status": "completed", "role": role, "content": content}


def _id(kind: str) -> str:
    return f"{_PREFIXES.get(kind, 'item')}_{new_id(28)}"


def raw(items: Iterable[Any]) -> tuple[msgspec.Raw, ...]:
    return tuple(msgspec.Raw(msgspec.json.encode(item)) for item in items)


def read(items: Iterable[bytes | msgspec.Raw]) -> list[InputItem]:
    """As a request's input has them."""
    return _ITEMS.validate_json(b"[" + b",".join(bytes(item) for item in items) + b"]")


def kept_items(items: Iterable[dict[str, Any]]) -> list[KeptItem]:
    """For a conversation."""
    return [KeptItem(item_id=item["id"], item=msgspec.json.encode(item)) for item in items]
