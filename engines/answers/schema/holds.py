"""Whether a finished answer is what its JSON schema asks for: a look at what came of a grammar,
by other means than the grammar's. Where a keyword's say is not known it is taken to be kept: a
good answer is never called a broken one."""

import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from engines.answers.schema.keywords import TYPES
from engines.answers.schema.references import SchemaDocument
from engines.answers.schema.safe_patterns import may_match

ENOUGH_STEPS = 500_000
_DEEPEST = 200


class TooMuch(Exception):
    """It takes more steps than were allowed."""


def parsed(text: str) -> Any:
    """JSON as its standard has it, numbers exactly. Raises ValueError where it is none, TooMuch
    where it is nested too deeply to be read here."""
    try:
        return json.loads(text, parse_float=Decimal, parse_int=Decimal, parse_constant=_no_number)
    except (RecursionError, ArithmeticError) as error:
        raise TooMuch from error


def holds(schema: Any, value: Any, most_steps: int = ENOUGH_STEPS) -> bool:
    """Whether `parsed` text fits the schema. Blocks: about 2 µs a step. Raises TooMuch."""
    try:
        return _Check(SchemaDocument(schema), most_steps).fits(value, schema, 0)
    except RecursionError as error:
        raise TooMuch from error


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


class _Check:
    """One value's."""

    def __init__(self, document: SchemaDocument, most_steps: int) -> None:
        self._document = document
        self._left = most_steps

    def fits(self, value: Any, schema: Any, depth: int) -> bool:
        self._left -= 1
        if self._left < 0 or depth > _DEEPEST:
            raise TooMuch
        if not isinstance(schema, dict):
            return schema is not False
        return all(
            self._keeps(key, value, schema[key], schema, depth) for key in schema if key in _RULES
        )

    def _keeps(self, key: str, value: Any, asked: Any, schema: Any, depth: int) -> bool:
        try:
            return _RULES[key](self, value, asked, schema, depth + 1)
        except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError):
            return True  # written in a way that is not understood here

    def reference(self, value: Any, asked: Any, schema: Any, depth: int) -> bool:
        return self.fits(value, self._document.target(asked), depth)

    def every(self, value: Any, asked: Any, schema: Any, depth: int) -> bool:
        return all(self.fits(value, each, depth) for each in asked)

    def some(self, value: Any, asked: Any, schema: Any, depth: int) -> bool:
        return any(self.fits(value, each, depth) for each in asked)

    def enum(self, value: Any, asked: Any, schema: Any, depth: int) -> bool:
        self._left -= len(asked)
        return any(_same(value, each) for each in asked)

    def items(self, value: Any, asked: Any, schema: Any, depth: int) -> bool:
        if not isinstance(value, list):
            return True
        if isinstance(asked, list):
            return self.prefix(value, asked, schema, depth)
        first = len(schema.get("prefixItems", ()))
        return all(self.fits(each, asked, depth) for each in value[first:])

    def prefix(self, value: Any, asked: Any, schema: Any, depth: int) -> bool:
        if not isinstance(value, list):
            return True
        return all(self.fits(*pair, depth) for pair in zip(value, asked, strict=False))

    def properties(self, value: Any, asked: Any, schema: Any, depth: int) -> bool:
        if not isinstance(value, dict):
            return True
        return all(self.fits(value[name], asked[name], depth) for name in value if name in asked)

    def others(self, value: Any, asked: Any, schema: Any, depth: int) -> bool:
        if not isinstance(value, dict) or "patternProperties" in schema:
            return True
        named = schema.get("properties", {})
        return all(self.fits(value[name], asked, depth) for name in value if name not in named)

    def names(self, value: Any, asked: Any, schema: Any, depth: int) -> bool:
        return not isinstance(value, dict) or all(self.fits(n, asked, depth) for n in value)


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, Decimal) and isinstance(b, float):
        return a == Decimal(repr(b))
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    return bool(a == b)


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case Decimal():
            return "number"
        case str():
            return "string"
    return "array" if isinstance(value, list) else "object"


def _type(_: _Check, value: Any, asked: Any, schema: Any, depth: int) -> bool:
    kinds = [asked] if isinstance(asked, str) else asked
    if not all(kind in TYPES for kind in kinds):
        return True
    kind = _kind(value)
    return kind in kinds or (kind == "number" and "integer" in kinds and _is_whole(value))


def _is_whole(value: Decimal) -> bool:
    return value.adjusted() > 20 or value == value.to_integral_value()


def _required(_: _Check, value: Any, asked: Any, schema: Any, depth: int) -> bool:
    return not isinstance(value, dict) or isinstance(asked, bool) or value.keys() >= set(asked)


def _const(_: _Check, value: Any, asked: Any, schema: Any, depth: int) -> bool:
    return _same(value, asked)


def _pattern(_: _Check, value: Any, asked: Any, schema: Any, depth: int) -> bool:
    return not isinstance(value, str) or may_match(value, asked)


def _bound(holds: Callable[[Decimal, Decimal], bool]) -> Any:
    """Of a number. Draft 4's true beside another bound asks for less here than it says."""

    def rule(_: _Check, value: Any, asked: Any, schema: Any, depth: int) -> bool:
        if not isinstance(value, Decimal) or isinstance(asked, bool):
            return True
        return holds(value, Decimal(repr(asked)))

    return rule


def _count(kind: type, is_least: bool) -> Any:
    def rule(_: _Check, value: Any, asked: Any, schema: Any, depth: int) -> bool:
        if not isinstance(value, kind):
            return True
        size = len(value)  # type: ignore[arg-type]  # str, list or dict
        return bool(size >= asked if is_least else size <= asked)

    return rule


def _multiple(value: Decimal, step: Decimal) -> bool:
    return value % step == 0


_RULES: Mapping[str, Callable[[_Check, Any, Any, Any, int], bool]] = {
    "type": _type,
    "enum": _Check.enum,
    "const": _const,
    "$ref": _Check.reference,
    "allOf": _Check.every,
    "anyOf": _Check.some,
    "oneOf": _Check.some,
    "items": _Check.items,
    "prefixItems": _Check.prefix,
    "properties": _Check.properties,
    "required": _required,
    "additionalProperties": _Check.others,
    "propertyNames": _Check.names,
    "pattern": _pattern,
    "minimum": _bound(Decimal.__ge__),
    "maximum": _bound(Decimal.__le__),
    "exclusiveMinimum": _bound(Decimal.__gt__),
    "exclusiveMaximum": _bound(Decimal.__lt__),
    "multipleOf": _bound(_multiple),
    **{
        f"{word}{what}": _count(kind, word == "min")
        for word in ("min", "max")
        for what, kind in (("Length", str), ("Items", list), ("Properties", dict))
    },
}
