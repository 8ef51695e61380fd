"""Two schemas that both must hold -> one that says the same."""

from collections.abc import Callable, Mapping
from typing import Any

from engines.answers.schema.keywords import OF_TYPE, TYPES
from engines.answers.schema.values import fits

Flat = dict[str, Any]
"""The keywords of a schema, none of which combines schemas; `const` is an `enum` of one."""

_OBJECT = OF_TYPE["object"]
_NO_ITEMS: tuple[Any, ...] = ()


class Clash(ValueError):
    """Names the keyword that cannot be put together."""


def conjunction(a: Flat, b: Flat) -> Flat | None:
    """None: nothing fits both. Raises Clash."""
    both = a | b
    for key in a.keys() & b.keys():
        if a[key] != b[key] and key not in _TOGETHER:
            both[key] = _CHOSEN[key](a[key], b[key]) if key in _CHOSEN else _clash(key)
    if "type" in both and not both["type"]:
        return None
    if "enum" in both:
        both["enum"] = [value for value in both["enum"] if _is_in(value, a) and _is_in(value, b)]
    return both | _items(a, b) | _properties(a, b)


def normal_types(types: Any) -> list[str]:
    named = [types] if isinstance(types, str) else list(types)
    return [kind for kind in TYPES if kind in named]


def _is_in(value: Any, schema: Flat) -> bool:
    if "enum" in schema and not any(_same(value, each) for each in schema["enum"]):
        return False
    return fits(value, {"type": schema["type"]} if "type" in schema else {})


def _same(a: Any, b: Any) -> bool:
    return bool(a == b) and isinstance(a, bool) == isinstance(b, bool)


def _types(a: Any, b: Any) -> list[str]:
    left, right = normal_types(a), normal_types(b)
    shared = [kind for kind in left if kind in right]
    if "integer" in left + right and "number" in left + right and "integer" not in shared:
        shared.append("integer")
    return shared


def _multiple(a: Any, b: Any) -> Any:
    if a % b == 0:
        return a
    return b if b % a == 0 else _clash("multipleOf")


def _clash(key: str) -> Any:
    raise Clash(key)


def _items(a: Flat, b: Flat) -> Flat:
    if not {"items", "prefixItems"} & a.keys() or not {"items", "prefixItems"} & b.keys():
        return {}
    length = max(len(a.get("prefixItems", _NO_ITEMS)), len(b.get("prefixItems", _NO_ITEMS)))
    prefix = [both(_item(a, at), _item(b, at)) for at in range(length)]
    rest = both(a.get("items", True), b.get("items", True))
    return {"items": rest} | ({"prefixItems": prefix} if prefix else {})


def _item(schema: Flat, at: int) -> Any:
    prefix = schema.get("prefixItems", _NO_ITEMS)
    return prefix[at] if at < len(prefix) else schema.get("items", True)


def _properties(a: Flat, b: Flat) -> Flat:
    if _OBJECT.isdisjoint(a) or _OBJECT.isdisjoint(b):
        return {}
    for one, other in ((a, b), (b, a)):
        if "patternProperties" in one and not _OBJECT.isdisjoint(other.keys() - {"required"}):
            _clash("patternProperties")
    names = [*a.get("properties", {}), *b.get("properties", {})]
    together: Flat = {}
    if names:
        together["properties"] = {n: both(_property(a, n), _property(b, n)) for n in names}
    if "additionalProperties" in a or "additionalProperties" in b:
        together["additionalProperties"] = both(_rest(a), _rest(b))
    return together


def _property(schema: Flat, name: str) -> Any:
    properties: Mapping[str, Any] = schema.get("properties", {})
    return properties.get(name, _rest(schema))


def _rest(schema: Flat) -> Any:
    return schema.get("additionalProperties", True)


def both(a: Any, b: Any) -> Any:
    """A schema that says both."""
    if a in (True, {}) or a == b:
        return b
    if b in (True, {}):
        return a
    return False if a is False or b is False else {"allOf": [a, b]}


_TOGETHER = frozenset({"items", "prefixItems", "properties", "additionalProperties", "enum"})
"""Those that are not chosen between but put together."""
_CHOSEN: Mapping[str, Callable[[Any, Any], Any]] = {
    "type": _types,
    "required": lambda a, b: [*a, *(name for name in b if name not in a)],
    "multipleOf": _multiple,
    "propertyNames": both,
} | {
    key: max if key.startswith(("min", "exclusiveMin")) else min
    for keys in OF_TYPE.values()
    for key in keys
    if key.startswith(("min", "max", "exclusive"))
}
