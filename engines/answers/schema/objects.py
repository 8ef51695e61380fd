"""An object's keywords -> a plain schema.

An object that names its properties and says nothing of others has no others: a small model makes
some up, or never comes to an end. What fits that fits what was asked for.
"""

from typing import Any

from engines.answers.schema.conjunction import Flat
from engines.answers.schema.keywords import unenforceable
from engines.answers.schema.parts import KEYS, NEVER, PATH, TEXT, Inner
from engines.answers.schema.patterns import UnreadablePattern, nodes_of


def plain_object(own: Flat, path: str, inner: Inner) -> Any:
    own = _named_by_enum(own, path, inner)
    if "patternProperties" in own or "propertyNames" in own:
        return _with_counts(_patterned(own, path, inner), own)
    rest = own.get("additionalProperties", "properties" not in own)
    plain_rest = inner.plain(rest, f"{path}/additionalProperties")
    properties = _properties(own, plain_rest, path, inner)
    if properties is NEVER:
        return NEVER
    made = {"properties": properties, "required": list(own.get("required", []))}
    additional = False if plain_rest is NEVER else plain_rest or True
    kept = {key: value for key, value in made.items() if value}
    return _with_counts({"type": "object", **kept, "additionalProperties": additional}, own)


def _named_by_enum(own: Flat, path: str, inner: Inner) -> Flat:
    """`propertyNames` that lists names lists properties; one that allows all says nothing."""
    if "propertyNames" not in own:
        return own
    names = {"allOf": [{"type": "string"}, own["propertyNames"]]}
    plain = inner.plain(names, f"{path}/propertyNames")
    left = {key: value for key, value in own.items() if key != "propertyNames"}
    if plain == {"type": "string"}:
        return left
    if plain is NEVER or "enum" in plain:
        listed = [] if plain is NEVER else plain["enum"]
        given, rest = own.get("properties", {}), own.get("additionalProperties", True)
        if "patternProperties" in own:
            raise unenforceable(f"{path}/propertyNames", inner.field)
        named = {name: given.get(name, rest) for name in listed}
        return left | {"properties": named, "additionalProperties": False}
    return left | {"propertyNames": plain}


def _patterned(own: Flat, path: str, inner: Inner) -> Any:
    """Names that match one pattern, and no others."""
    key = "patternProperties" if "patternProperties" in own else "propertyNames"
    beside = own.keys() & {"properties", "required", "patternProperties", "propertyNames"} - {key}
    patterns = own.get("patternProperties", {})
    if beside or (key in own and key == "patternProperties" and len(patterns) != 1):
        reason = "it stands alone or not at all"
        raise unenforceable(f"{path}/{key}", inner.field, reason)
    if key == "propertyNames":
        names, schema = _names(own, path, inner), own.get("additionalProperties", True)
    else:
        [(pattern, schema)] = patterns.items()
        names = _pattern(pattern, path, inner)
    values = inner.plain(schema, f"{path}/{key}")
    if values is NEVER:
        return {"type": "object", "additionalProperties": False}
    return {"type": "object", KEYS: {"names": names, "values": values}}


def _names(own: Flat, path: str, inner: Inner) -> Any:
    if TEXT not in own["propertyNames"]:
        raise unenforceable(f"{path}/propertyNames", inner.field)
    return own["propertyNames"]


def _pattern(pattern: str, path: str, inner: Inner) -> Any:
    try:
        return {TEXT: nodes_of(pattern, 0, None), PATH: f"{path}/patternProperties"}
    except UnreadablePattern as error:
        raise unenforceable(f"{path}/patternProperties", inner.field, str(error)) from None


def _properties(own: Flat, plain_rest: Any, path: str, inner: Inner) -> Any:
    """NEVER: one that must be there cannot be."""
    properties, required = {}, own.get("required", [])
    for name, schema in own.get("properties", {}).items():
        plain = inner.plain(schema, f"{path}/properties/{name}")
        if plain is not NEVER:
            properties[name] = plain
        elif name in required:
            return NEVER
        elif plain_rest is not NEVER:
            raise unenforceable(f"{path}/properties/{name}", inner.field, "others are allowed")
    for name in required:
        if name not in properties:
            if "additionalProperties" in own and plain_rest is NEVER:
                return NEVER
            properties[name] = {} if plain_rest is NEVER else plain_rest
    return properties


def _with_counts(made: Any, own: Flat) -> Any:
    least, most = int(own.get("minProperties", 0)), own.get("maxProperties")
    names, required = made.get("properties", {}), made.get("required", [])
    is_closed = made.get("additionalProperties") is False
    if most is not None and int(most) < max(least, len(required)):
        return NEVER
    if is_closed and least > len(names):
        return NEVER
    counts = {"minProperties": least} if least else {}
    if most is not None and not (is_closed and int(most) >= len(names)):
        counts["maxProperties"] = int(most)
    return made | counts
