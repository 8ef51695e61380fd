"""A schema's objects without properties that it does not name.

JSON schema allows others unless told; a small model then makes some up, or never comes to an end.
xgrammar is as strict by itself, llguidance is not. What fits the closed schema fits the given one.
"""

from typing import Any

from engines.answers.schema.keywords import ENFORCED, OF_TYPE, REFUSED

_UNEVALUATED = frozenset({"unevaluatedItems", "unevaluatedProperties"})
_SAYS_MORE = (ENFORCED | REFUSED | _UNEVALUATED) - {"type", "properties", "required"}
"""An object that says more (allOf, patternProperties, additionalProperties, …) stays as it is, and
so does what lies in it: closing a part could leave nothing that fits the whole."""
_DEFINITIONS = ("$defs", "definitions")
_BOTH = frozenset({"allOf", "not", "if", "dependentSchemas", "unevaluatedProperties"})
"""Words that let two schemas speak of one object: closing either would forbid the other's."""
_LEADING = frozenset({"$ref", "anyOf", "oneOf"})
"""So do two of these, or one beside words of the object's own."""


def closed(schema: Any) -> Any:
    """The schema, its plain objects closed; as it is where schemas are laid over each other."""
    return schema if are_laid_over(schema) else _closed(schema)


def with_closed_branches(schema: dict[str, Any], key: str) -> dict[str, Any]:
    """Of one in a schema that is closed: its alternatives under anyOf or oneOf, where it says
    nothing beside them."""
    beside = (_SAYS_MORE | {"properties", "required"}) - {key}
    if not isinstance(schema.get(key), list) or not beside.isdisjoint(schema):
        return schema
    return schema | {key: [_closed(each) for each in schema[key]]}


def are_laid_over(schema: Any) -> bool:
    if isinstance(schema, list):
        return any(map(are_laid_over, schema))
    if not isinstance(schema, dict):
        return False
    leading = _LEADING & schema.keys()
    has_own = not OF_TYPE["object"].isdisjoint(schema)
    is_laid_over = not _BOTH.isdisjoint(schema) or len(leading) + has_own * bool(leading) > 1
    return is_laid_over or any(map(are_laid_over, schema.values()))


def _closed(schema: Any) -> Any:
    if not isinstance(schema, dict):
        return schema
    if "properties" not in schema:
        items = {"items": _closed(schema["items"])} if "items" in schema else {}
        return with_closed_branches(schema | items | _inside(schema, _DEFINITIONS), "anyOf")
    if not _SAYS_MORE.isdisjoint(schema) or not _names_what_it_requires(schema):
        return schema
    inside = _inside(schema, ("properties", *_DEFINITIONS))
    return schema | inside | {"additionalProperties": False}


def _names_what_it_requires(schema: dict[str, Any]) -> bool:
    properties, required = schema["properties"], schema.get("required", [])
    return (
        isinstance(properties, dict)
        and isinstance(required, list)
        and all(isinstance(name, str) and name in properties for name in required)
    )


def _inside(schema: dict[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    return {
        key: {name: _closed(each) for name, each in schema[key].items()}
        for key in keys
        if isinstance(schema.get(key), dict)
    }
