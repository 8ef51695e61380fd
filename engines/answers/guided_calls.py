"""A call that a model begins by itself: held to its form from the opening mark on, so that it
parses, names a given tool and fits its schema. Text without a call stays free. Knows no engine."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from msgspec.structs import replace

from engines.answers.forced_calls import calls_schema
from engines.base import GenerateRequest, InvalidRequest, Tool

OPEN, CLOSE = "<tool_call>\n", "\n</tool_call>"
"""Around one call in the hermes form, as our words and its models' own templates show it."""
TRIGGER = OPEN.strip()
_Made = TypeVar("_Made")
_ANY: Mapping[str, Any] = {"type": "object"}


def guided_schema(request: GenerateRequest) -> dict[str, Any]:
    """Of what stands between the marks: {"name", "arguments"}, in that order."""
    return calls_schema(request.tools)


def enforceable(request: GenerateRequest, make: Callable[[GenerateRequest], _Made]) -> _Made:
    """What `make` gives; where it cannot enforce the tools' schemas, for tools that take any
    object, but for those with `strict`. Raises InvalidRequest where it cannot do those."""
    try:
        return make(request)
    except InvalidRequest:
        if all(tool.strict for tool in request.tools):
            raise
        return make(replace(request, tools=tuple(map(_relaxed, request.tools))))


def _relaxed(tool: Tool) -> Tool:
    return tool if tool.strict else Tool(name=tool.name, parameters=_ANY)
