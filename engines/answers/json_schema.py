"""A JSON schema's parts: which values in it are schemas, and which are data that only look so."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

_DATA = frozenset({"const", "enum", "default", "example", "examples"})
_NAMED = frozenset(
    {"properties", "patternProperties", "dependentSchemas", "dependencies", "$defs", "definitions"}
)
"""Their keys are names (of properties, of definitions), their values schemas."""


def with_each(schema: Any, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    """A copy with every schema in it replaced by `change` of it, the inner ones first."""
    if isinstance(schema, list):
        return [with_each(each, change) for each in schema]
    if not isinstance(schema, Mapping):
        return schema
    return change({key: _changed(key, value, change) for key, value in schema.items()})


def _changed(key: str, value: Any, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    if key in _DATA:
        return value
    if key in _NAMED and isinstance(value, Mapping):
        return {name: with_each(each, change) for name, each in value.items()}
    return with_each(value, change)


def each_place(schema: Any, path: str = "#") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every schema in `schema`, itself first, with the path that leads to it."""
    if isinstance(schema, list):
        for position, each in enumerate(schema):
            yield from each_place(each, f"{path}/{position}")
    elif isinstance(schema, Mapping):
        yield path, schema
        for key, value in schema.items():
            if key in _NAMED and isinstance(value, Mapping):
                for name, each in value.items():
                    yield from each_place(each, f"{path}/{key}/{name}")
            elif key not in _DATA:
                yield from each_place(value, f"{path}/{key}")


def each_schema(schema: Any) -> Iterator[Mapping[str, Any]]:
    """Every schema in `schema`, itself first."""
    return (part for _, part in each_place(schema))


def moved(schema: Any, place: str) -> Any:
    """The schema as it must be at `place` of a larger one ("#/$defs/t0"): its references to
    itself begin at the larger one's root."""

    def change(part: dict[str, Any]) -> dict[str, Any]:
        reference = part.get("$ref")
        if isinstance(reference, str) and (reference == "#" or reference.startswith("#/")):
            return part | {"$ref": place + reference[1:]}
        return part

    return with_each(schema, change)
