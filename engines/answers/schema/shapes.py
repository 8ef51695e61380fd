"""Whether a keyword's value is of the kind that JSON schema asks for."""

from collections.abc import Callable, Mapping
from typing import Any

from engines.answers.schema.keywords import TYPES


def misshapen(own: Mapping[str, Any]) -> str | None:
    """The first keyword whose value is of another kind."""
    return next((key for key, value in own.items() if key in _IS and not _IS[key](value)), None)


def _is_type(value: Any) -> bool:
    named = value if isinstance(value, list) else [value]
    return bool(named) and all(isinstance(each, str) and each in TYPES for each in named)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_step(value: Any) -> bool:
    return _is_number(value) and value > 0


def _is_limit(value: Any) -> bool:
    """Draft 4 has true or false here."""
    return isinstance(value, int | float)


def _is_count(value: Any) -> bool:
    return _is_number(value) and value >= 0 and float(value).is_integer()


def _is_map(value: Any) -> bool:
    return isinstance(value, dict)


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def _is_names(value: Any) -> bool:
    """Draft 4's Booleans, which stand at a property, ask nothing of it."""
    return isinstance(value, bool) or (isinstance(value, list) and all(map(_is_text, value)))


_COUNTS = ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties")
_IS: Mapping[str, Callable[[Any], bool]] = {
    "type": _is_type,
    "multipleOf": _is_step,
    "required": _is_names,
    **dict.fromkeys(("enum", "allOf", "anyOf", "oneOf", "prefixItems"), _is_list),
    **dict.fromkeys(("properties", "patternProperties"), _is_map),
    **dict.fromkeys(("pattern", "format", "$ref"), _is_text),
    **dict.fromkeys(("minimum", "maximum"), _is_number),
    **dict.fromkeys(("exclusiveMinimum", "exclusiveMaximum"), _is_limit),
    **dict.fromkeys(_COUNTS, _is_count),
}
