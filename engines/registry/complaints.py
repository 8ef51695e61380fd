"""What is wrong with a value that a person wrote, in plain words: pydantic's error -> a phrase."""

from typing import Any

from pydantic_core import ErrorDetails

GGUF_NAME = r"^[^/\\]+\.gguf$"
WORDS = {
    "string_type": "it is no text",
    "string_too_short": "it is empty",
    "string_pattern_mismatch": "right would be letters, digits and ._:/-",
    "int_type": "it is no whole number",
    "int_parsing": "it is no whole number",
    "int_from_float": "it is no whole number",
    "float_type": "it is no number",
    "float_parsing": "it is no number",
    "finite_number": "it is no finite number",
    "bool_type": "it is neither true nor false",
    "bool_parsing": "it is neither true nor false",
    "list_type": "it is no list",
    "dict_type": "it is no mapping of names to values",
    "model_type": "it is no mapping of names to values",
    "path_type": "it is no path",
    "too_short": "it is empty",
    "too_long": "it is longer than {max_length}",
    "string_too_long": "it is longer than {max_length}",
    "decimal_max_places": "it has more than {decimal_places} decimal places",
    "literal_error": "right would be {expected}",
    "greater_than_equal": "the least is {ge}",
    "greater_than": "it must be above {gt}",
    "less_than_equal": "the most is {le}",
    "less_than": "it must be below {lt}",
}

PATTERNS = {GGUF_NAME: "right would be the name of a .gguf file, without its folder"}
"""... of texts that are no names."""


def complaint(error: ErrorDetails) -> str:
    """Without pydantic's own words where ours are known; a validator's ValueError says its own."""
    words = PATTERNS.get(error.get("ctx", {}).get("pattern", "")) or WORDS.get(error["type"])
    if words is None:
        return error["msg"].removeprefix("Value error, ")
    return words.format_map(error.get("ctx", {}))


def shown(value: Any) -> str:
    """A wrong value as a message repeats it: at most 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"
