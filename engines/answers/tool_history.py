"""Tool calls of a conversation's history, as chat templates want them: arguments as an object."""

import json
from collections.abc import Mapping
from typing import Any

from engines.base import InvalidRequest

MOST_LEVELS = 100
"""Arguments nested deeper are refused: templates and JSON writers are recursive."""


def with_read_arguments(message: Mapping[str, Any]) -> dict[str, Any]:
    """A copy whose calls have their arguments read. Text that is no JSON object counts as an empty
    one, as in vLLM: it stands in the history (a call that max_tokens cut, say), so refusing it
    would end the conversation for ever. Raises InvalidRequest where it is nested too deeply."""
    copy = dict(message)
    if calls := copy.get("tool_calls"):
        copy["tool_calls"] = [_read(call) for call in calls]
    return copy


def _read(call: Mapping[str, Any]) -> dict[str, Any]:
    function = dict(call["function"])
    function["arguments"] = _object(function.get("arguments"), function.get("name"))
    return {**call, "function": function}


def _object(arguments: Any, name: object) -> dict[str, Any]:
    try:
        value = json.loads(arguments) if isinstance(arguments, str) else arguments
        is_too_deep = _is_deeper(value, MOST_LEVELS)
    except ValueError:
        return {}
    except RecursionError:
        is_too_deep = True
    if is_too_deep:
        raise InvalidRequest(
            f"tool_calls: the arguments of {name} are nested more than {MOST_LEVELS} levels deep.",
            "messages",
        )
    if not isinstance(value, dict):
        return {}
    return _in_characters(value) if isinstance(arguments, str) and "\\u" in arguments else value


def _in_characters(value: dict[str, Any]) -> dict[str, Any]:
    """Half a character, as of an emoji that a model cut, can be rendered by no template."""
    text = json.dumps(value, ensure_ascii=False)
    whole = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    read: dict[str, Any] = json.loads(whole)
    return read


def _is_deeper(value: Any, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deeper(each, levels - 1) for each in inner)
