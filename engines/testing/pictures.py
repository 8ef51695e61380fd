"""Pictures as the scripted engine reads them: so many words each, and none of what they show."""

from collections.abc import Mapping, Sequence
from typing import Any

from engines.content import PICTURE, Picture

PICTURE_TOKENS, LOW_TOKENS = 16, 4
"""Of one picture, and of one whose detail is "low"."""


def read_text(content: Any) -> str:
    """What counts as the prompt."""
    return _written(content, _as_read)


def last_asked(messages: Sequence[Mapping[str, Any]]) -> str:
    """The last user's words, with " [width x height]" where a picture stood."""
    asked = (m.get("content") for m in reversed(messages) if m["role"] == "user")
    return _written(next(asked, None), lambda seen: f" [{seen.width}x{seen.height}]")


def _written(content: Any, write: Any) -> str:
    if not isinstance(content, list):
        return str(content or "")
    return "".join(
        write(part[PICTURE]) if part["type"] == PICTURE else part["text"] for part in content
    )


def _as_read(picture: Picture) -> str:
    count = LOW_TOKENS if picture.is_low else PICTURE_TOKENS
    return "".join(f" {picture.digest[:16]}/{number}" for number in range(count))
