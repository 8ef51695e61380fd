"""A schema's objects without properties that it does not name.

JSON schema allows others unless told; a small model then makes some up, or never comes to an end.
xgrammar is as strict by itself, llguidance is not. What fits the closed schema fits the given one.
"""

from typing import Any

_PLAIN = frozenset(
    {"type", "properties", "required", "title", "description", "default", "examples", "$defs"}
    | {"definitions", "$schema", "$id", "$comment", "deprecated", "readOnly", "writeOnly"}
)
"""An object that says more (allOf, patternProperties, additionalProperties, …) stays as it is, and
so does what lies in it: closing a part could leave nothing that fits the whole."""
_OBJECTS_OF_SCHEMAS = ("properties", "$defs", "definitions")


_BOTH = frozenset({"allOf", "not", "if", "dependentSchemas", "unevaluatedProperties"})
"""Words that let two schemas speak of one object: closing either would forbid the other's."""


def closed(schema: Any) -> Any:
    """The schema, its plain objects closed; as it is where schemas are laid over each other."""
    return schema if _overlaps(schema) else _closed(schema)


def _overlaps(schema: Any) -> bool:
    if isinstance(schema, list):
        return any(map(_overlaps, schema))
    if not isinstance(schema, dict):
        return False
    is_laid_over = not _BOTH.isdisjoint(schema) or {"$ref", "properties"} <= schema.keys()
    return is_laid_over or any(map(_overlaps, schema.values()))


def _closed(schema: Any) -> Any:
    if not isinstance(schema, dict):
        return schema
    if "properties" not in schema:
        items = {"items": _closed(schema["items"])} if "items" in schema else {}
        return schema | items | _inside(schema, _OBJECTS_OF_SCHEMAS[1:])
    if not schema.keys() <= _PLAIN:
        return schema
    return schema | _inside(schema, _OBJECTS_OF_SCHEMAS) | {"additionalProperties": False}


def _inside(schema: dict[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    return {
        key: {name: _closed(each) for name, each in schema[key].items()}
        for key in keys
        if isinstance(schema.get(key), dict)
    }
