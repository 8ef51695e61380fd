"""Items as they are kept: with ids of ours, their content in parts; and read again."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
from pydantic import TypeAdapter

from server.api.responses.wire import InputItem
from server.errors import ApiError
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


def encoded_items(given: str | Sequence[InputItem]) -> tuple[msgspec.Raw, ...]:
    """What a request was given, item by item, as it is kept. Raises ApiError 400 for what JSON of
    64-bit integers cannot hold."""
    try:
        return raw(input_items(given))
    except (OverflowError, RecursionError):
        expected = "integers of at most 64 bits, and objects of at most some hundred in each other"
        message = f"input has what cannot be kept; expected {expected}, or store: false."
        raise ApiError.invalid(message, "input", None, expected) from None


def input_items(given: str | Sequence[InputItem]) -> list[dict[str, Any]]:
    """References to others are left out."""
    if isinstance(given, str):
        text = {"type": "input_text", "text": given}
        return [{"id": _id("message"), **_message("user", [text])}]
    return [_kept(item) for item in given if item.type != "item_reference"]


def _kept(item: InputItem) -> dict[str, Any]:
    told: dict[str, Any] = item.model_dump(mode="json", by_alias=True, exclude_none=True)
    kind = told.pop("type", "message")
    told.pop("id", None)
    if kind == "message":
        return {"id": _id(kind), **told, **_message(told.get("role"), told.get("content"))}
    return {"id": _id(kind), **told, "type": kind}


def _message(role: str | None, content: Any) -> dict[str, Any]:
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


def kept_items(items: Iterable[msgspec.Raw]) -> list[KeptItem]:
    """For a conversation."""
    return [KeptItem(item_id=item_id(item), item=bytes(item)) for item in items]


def item_id(item: bytes | msgspec.Raw) -> str:
    return _named(item).id


class _Named(msgspec.Struct):
    id: str


_named = msgspec.json.Decoder(_Named).decode
