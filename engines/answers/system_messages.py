"""System messages as strict chat templates want them: one, at the beginning. Knows no engine."""

from collections.abc import Sequence
from typing import Any

Messages = Sequence[dict[str, Any]]


def leading_as_one(messages: Messages) -> list[dict[str, Any]]:
    """Those at the beginning put together, an empty line between: what they say, and its order,
    stay the same."""
    count = 0
    while count < len(messages) and messages[count]["role"] == "system":
        count += 1
    if count < 2:
        return list(messages)
    return [_one(messages[:count]), *messages[count:]]


def all_first(messages: Messages) -> list[dict[str, Any]] | None:
    """All of them as one at the beginning, for a template that refuses them anywhere else; None
    where they are so already."""
    if all(m["role"] != "system" for m in messages[1:]):
        return None
    system = [m for m in messages if m["role"] == "system"]
    return [_one(system), *(m for m in messages if m["role"] != "system")]


def _one(messages: Messages) -> dict[str, Any]:
    return {**messages[0], "content": "\n\n".join(m["content"] for m in messages)}
