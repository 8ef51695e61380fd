"""The smallest answer of a given form: a schema's smallest value, a call of the first tool."""

import json
import zlib
from collections.abc import Mapping
from typing import Any

from engines.answers.schema.holds import holds, parsed
from engines.base import GenerateRequest, InvalidRequest, ToolCallDelta

_LONGEST = 10_000


def tool_call(request: GenerateRequest, is_its_own_wish: bool) -> ToolCallDelta | None:
    unforced = {"none"} if is_its_own_wish else {"auto", "none"}
    if not (request.tools and request.tool_parser) or request.tool_choice in unforced:
        return None
    name = request.tool_choice.removeprefix("function:")
    tool = next((t for t in request.tools if t.name == name), request.tools[0])
    arguments = _filled(tool.parameters, "tools")
    return ToolCallDelta(0, f"call_{zlib.crc32(arguments.encode()):08x}", tool.name, arguments)


def form(kind: str, value: Any) -> str:
    match kind:
        case "json_object":
            return "{}"
        case "json_schema":
            return _filled(value, "response_format")
        case "choice":
            return str(value[0])
        case _:
            raise InvalidRequest(
                f"The scripted engine cannot follow a {kind}.", "structured_outputs"
            )


def _filled(schema: Mapping[str, Any], field: str) -> str:
    """JSON that fits the schema. Raises InvalidRequest where it is none, or asks too much."""
    try:
        smallest = json.dumps(_instance(schema))
        if not holds(schema, parsed(smallest)):
            raise ValueError("its smallest value is more than this engine finds")
        return smallest
    except (AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise InvalidRequest(f"The JSON schema cannot be followed: {error}.", field) from error


def _instance(schema: Mapping[str, Any]) -> Any:
    """The smallest value of a simple JSON schema."""
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    if "anyOf" in schema:
        return _instance(schema["anyOf"][0])
    match schema.get("type", "object"):
        case "object":
            properties = schema.get("properties", {})
            optional = [name for name, member in properties.items() if "pattern" not in member]
            required = schema.get("required", optional)
            return {k: _instance(properties.get(k, {})) for k in required}
        case "array":
            return [_instance(schema.get("items", {}))] * _size(schema, "minItems", 0)
        case "string":
            return "x" * _size(schema, "minLength", 1)
        case "integer" | "number":
            return schema.get("minimum", 1)
        case "boolean":
            return True
        case other:
            raise InvalidRequest(f"Unknown JSON schema type {other!r}.", "response_format")


def _size(schema: Mapping[str, Any], name: str, default: int) -> int:
    size = int(schema.get(name, default))
    if size > _LONGEST:
        raise ValueError(f"{name} is {size}, more than {_LONGEST}")
    return size
