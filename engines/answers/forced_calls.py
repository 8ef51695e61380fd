"""Tool calls that must be made: the JSON schema an answer is held to, and its calls while it
streams. Knows no engine."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from engines.answers.call_ids import CallIds
from engines.answers.closed_schema import closed
from engines.answers.json_schema import each_schema, moved
from engines.base import GenerateRequest, InvalidRequest, Tool, ToolCallDelta

_NAMED = "function:"
MOST_CALLS = 16
"""Of one answer that must be calls: a small model goes on calling until its tokens are used up."""


def is_forced(request: GenerateRequest) -> bool:
    """Whether the answer must be tool calls and nothing else."""
    choice = request.tool_choice
    return request.tool_parser is not None and (choice == "required" or choice.startswith(_NAMED))


def forced_schema(request: GenerateRequest) -> dict[str, Any]:
    """What `ForcedCalls` can read: the arguments of the named function, or an array of
    {"name", "arguments"}, in that order."""
    if request.tool_choice.startswith(_NAMED):
        return _parameters(_named(request))
    bounds = {"minItems": 1, "maxItems": _most_calls(request)}
    call = calls_schema(request.tools)
    definitions = {key: call.pop(key) for key in ("$defs",) if key in call}
    return {"type": "array", "items": call, **bounds, **definitions}


def calls_schema(tools: Sequence[Tool]) -> dict[str, Any]:
    """One call of any of them, with the definitions that it refers to at its root."""
    definitions: dict[str, Any] = {}
    calls = [_call(tool, f"t{i}", definitions) for i, tool in enumerate(tools)]
    return {"anyOf": calls} | ({"$defs": definitions} if definitions else {})


def _named(request: GenerateRequest) -> Tool:
    name = request.tool_choice.removeprefix(_NAMED)
    for tool in request.tools:
        if tool.name == name:
            return tool
    raise InvalidRequest(f"tool_choice names {name!r}, which is none of tools.", "tool_choice")


def _parameters(tool: Tool) -> dict[str, Any]:
    schema: dict[str, Any] = closed(dict(tool.parameters) | {"type": "object"})
    return schema


def _most_calls(request: GenerateRequest) -> int:
    """A tool without arguments is called once: each further call would be the same."""
    if not request.parallel_tool_calls:
        return 1
    takes_arguments = any(map(_takes_arguments, request.tools))
    return MOST_CALLS if takes_arguments else min(len(request.tools), MOST_CALLS)


def _takes_arguments(tool: Tool) -> bool:
    parameters = _parameters(tool)
    return bool(parameters.get("properties")) or parameters.get("additionalProperties") is not False


def _call(tool: Tool, name: str, definitions: dict[str, Any]) -> dict[str, Any]:
    """The call of one tool. Parameters that refer to themselves become a definition of their own,
    whole, so that every reference finds what it meant."""
    arguments = _parameters(tool)
    if any("$ref" in part for part in each_schema(arguments)):
        definitions[name] = moved(arguments, f"#/$defs/{name}")
        arguments = {"$ref": f"#/$defs/{name}"}
    return {
        "type": "object",
        "properties": {"name": {"type": "string", "enum": [tool.name]}, "arguments": arguments},
        "required": ["name", "arguments"],
        "additionalProperties": False,
    }


class ForcedCalls:
    """One choice's calls: feed it the answer's text in order."""

    def __init__(self, request: GenerateRequest) -> None:
        is_named = request.tool_choice.startswith(_NAMED)
        ids = CallIds(request)
        self._reader = (
            _NamedCall(request.tool_choice.removeprefix(_NAMED), ids)
            if is_named
            else _CallArray(ids)
        )

    def feed(self, text: str) -> tuple[ToolCallDelta, ...]:
        return tuple(self._reader.feed(text)) if text else ()


class _NamedCall:
    """The whole text is the arguments."""

    def __init__(self, name: str, ids: CallIds) -> None:
        self._name: str | None = name
        self._ids = ids

    def feed(self, text: str) -> Iterator[ToolCallDelta]:
        if self._name is not None:
            yield ToolCallDelta(index=0, id=self._ids.new(self._name, 0), name=self._name)
            self._name = None
        yield ToolCallDelta(index=0, arguments=text)


class _CallArray:
    """[{"name": "f", "arguments": {…}}, …]: arguments go on as they come, unchanged."""

    def __init__(self, ids: CallIds) -> None:
        self._ids = ids
        self._index = -1
        self._depth = 0
        self._in_string = False
        self._is_escaped = False
        self._string = ""
        self._strings: list[str] = []

    def feed(self, text: str) -> Iterator[ToolCallDelta]:
        arguments = ""
        for char in text:
            was_inside = self._depth > 2
            self._step(char)
            if was_inside or self._depth > 2:
                arguments += char
            if was_inside and self._depth == 2:
                yield ToolCallDelta(index=self._index, arguments=arguments)
                arguments = ""
            elif not was_inside and self._depth > 2:
                name = self._strings[1]
                call_id = self._ids.new(name, self._index)
                yield ToolCallDelta(index=self._index, id=call_id, name=name)
        if arguments:
            yield ToolCallDelta(index=self._index, arguments=arguments)

    def _step(self, char: str) -> None:
        if self._in_string:
            self._step_in_string(char)
        elif char == '"':
            self._in_string, self._string = True, ""
        elif char in "[{":
            self._depth += 1
            if self._depth == 2:
                self._index += 1
                self._strings = []
        elif char in "]}":
            self._depth -= 1

    def _step_in_string(self, char: str) -> None:
        if char == '"' and not self._is_escaped:
            self._in_string = False
            if self._depth == 2:
                self._strings.append(json.loads(f'"{self._string}"'))
            return
        self._is_escaped = char == "\\" and not self._is_escaped
        if self._depth == 2:
            self._string += char
