"""Messages with pictures, as vLLM's renderer takes them."""

from collections.abc import Mapping, Sequence
from typing import Any

from engines.content import PICTURE
from engines.pictures.pixels import pixels


def with_pixels(messages: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Blocks: each picture is decoded. Raises InvalidRequest."""
    return [
        {**message, "content": [_part(part) for part in message["content"]]}
        if isinstance(message.get("content"), list)
        else message
        for message in messages
    ]


def _part(part: Mapping[str, Any]) -> Mapping[str, Any]:
    if part["type"] != PICTURE:
        return part
    return {"type": "image_pil", "image_pil": pixels(part[PICTURE])}


def has_pictures(rendered: Mapping[str, Any]) -> bool:
    """Whether vLLM's engine input holds more than tokens."""
    return rendered.get("type") == "multimodal"
