"""Whether a text matches a client's pattern, in linear time whatever the pattern; where the library
that can do so may read the pattern otherwise than JavaScript does, it is said to match."""

import re

from pydantic_core import SchemaError, SchemaValidator, ValidationError, core_schema

_PART = re.compile(r"\\(?P<escape>.)|\[(?P<not>\^?)(?P<set>(?:\\.|[^\]\\])*)\]|.", re.DOTALL)
_ALIKE = frozenset(".*+?()[]{}|^$-/\\nrtfv")
_MORE = frozenset("dws")
"""Rust's hold more characters than JavaScript's: more matches, unless they are negated."""
_SET_OPERATORS = re.compile(r"&&|--|~~|(?<!\\)\[")
_ODD_REPEAT = re.compile(r"\{,|\(\?(?!:)")
"""`{,3}` is text in JavaScript; groups that look around, have names or set flags."""


def may_match(text: str, pattern: str) -> bool:
    """False where it surely does not."""
    if _ODD_REPEAT.search(pattern) or not all(map(_reads_alike, _PART.finditer(pattern))):
        return True
    try:
        text.encode()
        schema = core_schema.str_schema(pattern=pattern, regex_engine="rust-regex")
        SchemaValidator(schema).validate_python(text)
    except (SchemaError, UnicodeEncodeError):
        return True
    except ValidationError:
        return False
    return True


def _reads_alike(part: re.Match[str]) -> bool:
    if part["escape"] is not None:
        return part["escape"] in _ALIKE | _MORE
    if part["set"] is None:
        return True
    escapes = set(re.findall(r"\\(.)", part["set"], re.DOTALL))
    allowed = _ALIKE if part["not"] else _ALIKE | _MORE
    return bool(part["set"]) and escapes <= allowed and not _SET_OPERATORS.search(part["set"])
