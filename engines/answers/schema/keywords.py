"""The keywords of JSON schema: what each speaks of, and which of them no grammar can enforce."""

from collections.abc import Mapping, Set
from typing import Any

from engines.base import InvalidRequest

TYPES = ("string", "integer", "number", "boolean", "null", "array", "object")
OF_TYPE: Mapping[str, frozenset[str]] = {
    "string": frozenset({"minLength", "maxLength", "pattern", "format"}),
    "number": frozenset(
        {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}
    ),
    "array": frozenset({"items", "prefixItems", "minItems", "maxItems"}),
    "object": frozenset(
        {"properties", "required", "additionalProperties", "patternProperties"}
        | {"propertyNames", "minProperties", "maxProperties"}
    ),
}
COMBINING = frozenset({"$ref", "allOf", "anyOf", "oneOf"})
REFUSED = frozenset(
    {"not", "if", "then", "else", "dependentRequired", "dependentSchemas", "dependencies"}
    | {"contains", "minContains", "maxContains", "uniqueItems", "$dynamicRef", "$recursiveRef"}
)
"""They say what an answer must not be, or compare parts of it that lie apart: no grammar that is
read from left to right holds that. A 400 on every engine."""
FREE: Mapping[str, bool] = {
    "uniqueItems": False,
    **dict.fromkeys(("then", "else", "unevaluatedItems", "unevaluatedProperties"), True),
}
"""Values of refused keywords that ask for nothing."""
ENFORCED = frozenset({"type", "enum", "const"}).union(COMBINING, *OF_TYPE.values())
"""Everything else is an annotation: titles, defaults, formats and keywords that nobody knows."""


def check_refused(
    schema: Mapping[str, Any], path: str, field: str, refused: Set[str] = REFUSED
) -> None:
    """Raises InvalidRequest with the path of the first keyword that cannot be enforced."""
    for key in schema:
        if key in refused and schema[key] is not FREE.get(key):
            raise unenforceable(f"{path}/{key}", field)


def unenforceable(path: str, field: str, reason: str = "") -> InvalidRequest:
    because = f": {reason}" if reason else ""
    return InvalidRequest(
        f"{field}: {path[:300]} cannot be enforced{because}.", field, "a schema without it"
    )


def types_of(schema: Mapping[str, Any]) -> tuple[str, ...]:
    """Which types a schema's values may have. Without `type`, those its keywords speak of."""
    given = schema.get("type")
    if given is not None:
        named = [given] if isinstance(given, str) else list(given)
        return tuple(kind for kind in TYPES if kind in named)
    spoken_of = tuple(kind for kind, keys in OF_TYPE.items() if not keys.isdisjoint(schema))
    return spoken_of or TYPES


def type_of(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "integer" if value.is_integer() else "number"
        case str():
            return "string"
        case list():
            return "array"
    return "object"
