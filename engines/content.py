"""What a message says: a text, or parts of text and pictures in their order."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

PICTURE = "picture"
"""The type, and the member, of a part that is one: {"type": "picture", "picture": Picture}."""


class Picture:
    """One that a child has decoded unharmed, still in the bytes of its file."""

    def __init__(
        self,
        data: bytes,
        width: int,
        height: int,
        *,
        is_low: bool = False,
        sha256: str | None = None,
    ) -> None:
        """`is_low`: the model gets a small one of it (OpenAI's detail "low"). `sha256`: of `data`,
        where it is known, in hexadecimal."""
        self.data, self.width, self.height, self.is_low = data, width, height, is_low
        self._sha256 = sha256

    @cached_property
    def digest(self) -> str:
        """Equal for equal bytes at equal detail."""
        whole = self._sha256 or hashlib.sha256(self.data).hexdigest()
        return whole + ("/low" if self.is_low else "")


def picture_parts(messages: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """The parts that are pictures, in order."""
    for message in messages:
        if isinstance(content := message.get("content"), list):
            yield from (part for part in content if part["type"] == PICTURE)


def text_of(content: Any) -> str:
    """The text alone; of no content an empty one."""
    if isinstance(content, list):
        return "".join(part["text"] for part in content if part["type"] == "text")
    return content if isinstance(content, str) else ""


def joined(before: Any, between: str, after: Any) -> Any:
    """Both contents as one: a text where both are, else parts."""
    if isinstance(before, str) and isinstance(after, str):
        return f"{before}{between}{after}"
    return [part for content in (before, between, after) for part in _parts(content)]


def _parts(content: Any) -> list[dict[str, Any]]:
    if isinstance(content, list):
        return content
    return [{"type": "text", "text": content}] if content else []
