"""Which values of an `enum` a schema's other keywords leave."""

import math
from collections.abc import Mapping
from typing import Any

from pydantic_core import SchemaError, SchemaValidator, ValidationError, core_schema

from engines.answers.schema.keywords import OF_TYPE, type_of


class CannotTell(ValueError):
    """Names the keyword whose say about a value is not known."""


def fits(value: Any, schema: Mapping[str, Any]) -> bool:
    """Whether `value` is what `schema`, which has no combining keyword, asks for. Raises
    CannotTell."""
    kind = type_of(value)
    return _has_type(kind, schema.get("type")) and _fits_keywords(value, kind, schema)


def _has_type(kind: str, types: Any) -> bool:
    allowed = [types] if isinstance(types, str) else types
    return types is None or kind in allowed or (kind == "integer" and "number" in allowed)


def _fits_keywords(value: Any, kind: str, schema: Mapping[str, Any]) -> bool:
    kind = "number" if kind == "integer" else kind
    spoken = [key for key in schema if key in OF_TYPE.get(kind, ())]
    match kind:
        case "number":
            return all(_holds_number(key, value, schema[key]) for key in spoken)
        case "string":
            return all(_holds_string(key, value, schema[key]) for key in spoken)
    if spoken:
        raise CannotTell(spoken[0])
    return True


def _holds_number(key: str, value: float, bound: Any) -> bool:
    match key:
        case "minimum":
            return bool(value >= bound)
        case "maximum":
            return bool(value <= bound)
        case "exclusiveMinimum":
            return bool(value > bound)
        case "exclusiveMaximum":
            return bool(value < bound)
    remainder = math.fmod(value, bound)
    return abs(remainder) < 1e-9 or abs(abs(remainder) - bound) < 1e-9


def _holds_string(key: str, value: str, bound: Any) -> bool:
    match key:
        case "minLength":
            return bool(len(value) >= bound)
        case "maxLength":
            return bool(len(value) <= bound)
        case "pattern":
            return _matches(value, bound)
    raise CannotTell(key)


def _matches(value: str, pattern: str) -> bool:
    """By a library that takes linear time for every pattern; Python's does not."""
    try:
        schema = core_schema.str_schema(pattern=pattern, regex_engine="rust-regex")
        SchemaValidator(schema).validate_python(value)
    except SchemaError as error:
        raise CannotTell("pattern") from error
    except ValidationError:
        return False
    return True
