"""Messages with pictures, as vLLM's renderer takes them."""

from collections.abc import Mapping, Sequence
from typing import Any

from engines.content import PICTURE
from engines.pictures.pixels import pixels


def with_pixels(
    messages: Sequence[Mapping[str, Any]], salt: str | None = None
) -> list[Mapping[str, Any]]:
    """Blocks: each picture is decoded. What the engine keeps of one is found by requests with the
    same salt. Raises InvalidRequest."""
    return [
        {**message, "content": [_part(part, salt) for part in message["content"]]}
        if isinstance(message.get("content"), list)
        else message
        for message in messages
    ]


def _part(part: Mapping[str, Any], salt: str | None) -> Mapping[str, Any]:
    if part["type"] != PICTURE:
        return part
    picture = part[PICTURE]
    name = {} if salt is None else {"uuid": f"{salt}:{picture.digest}"}
    return {"type": "image_pil", "image_pil": pixels(picture), **name}


def has_pictures(rendered: Mapping[str, Any]) -> bool:
    """Whether vLLM's engine input holds more than tokens."""
    return rendered.get("type") == "multimodal"
