"""How large a form may be: what compiles a grammar does so where answers are made, so that one
client's huge form would hold up everybody's. Pure; told before anything is compiled."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from engines.base import InvalidRequest, Structure

MOST_SCHEMA_BYTES = 128 * 1024
MOST_GRAMMAR_CHARACTERS = 64 * 1024
MOST_PATTERN_CHARACTERS = 8 * 1024
MOST_CHOICES = 1_000
"""Of a list of choices, and of all enums of a schema together."""
MOST_CHOICE_CHARACTERS = 64 * 1024
"""Of all of them together."""
MOST_PROPERTIES = 1_000
"""Of all objects of a schema together."""
MOST_OPTIONAL_PROPERTIES = 300
"""Of one object, beside the required ones: xgrammar compiles 300 in 0.75 s, 1,000 in 12 s (1,000
that are required in 0.2 s)."""
MOST_REPEATS = 10_000
"""Of items, characters or properties, each time that a schema counts them."""
MOST_PATTERN_LENGTH = 10_000
"""Of all patterns together, each with its counted repeats written out."""

_ENOUGH = 10**12
_COUNTS = ("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties",
           "minContains", "maxContains")  # fmt: skip
_LISTS = ("properties", "patternProperties")
_PART = re.compile(
    r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|[(|)]|\{(?P<least>\d+)(?:,(?P<most>\d*))?\}|.", re.DOTALL
)


def check_form(structure: Structure, field: str) -> None:
    """Raises InvalidRequest that names the bound. Blocks: 10 ms for the largest that passes."""
    match structure.kind:
        case "json_schema":
            _check_schema(structure.value, field)
        case "regex":
            _check_patterns([structure.value], field)
        case "choice":
            _check_choices(structure.value, field)
        case "grammar":
            _check_grammar(structure.value, field)


def wire_field(structure: Structure) -> str:
    """The field that most likely brought it."""
    return "response_format" if structure.kind.startswith("json") else "structured_outputs"


def written_out(pattern: str) -> int:
    """A regex' length with its counted repeats written out."""
    sums, last = [0], 0
    for part in _PART.finditer(pattern):
        match part[0]:
            case "(":
                sums.append(0)
                continue
            case ")" if len(sums) > 1:
                last = sums.pop()
            case _ if part["least"]:
                repeats = max(_number(part["least"]), _number(part["most"]), 1)
                sums[-1] -= last
                last = min(last * repeats, _ENOUGH)
            case _:
                last = 1
        sums[-1] += last
    return sum(sums)


def _number(digits: str | None) -> int:
    return int((digits or "0")[:9])


def _check_schema(schema: Any, field: str) -> None:
    try:
        size = len(msgspec.json.encode(schema))
    except RecursionError:
        raise InvalidRequest(f"{field} is nested too deeply.", field) from None
    _check(size, MOST_SCHEMA_BYTES, "bytes of schema", field)
    parts = list(_objects(schema))
    _check(sum(_properties(part) for part in parts), MOST_PROPERTIES, "properties", field)
    optional = max(map(_optional_properties, parts), default=0)
    _check(optional, MOST_OPTIONAL_PROPERTIES, "optional properties in one object", field)
    enums = [part["enum"] for part in parts if isinstance(part.get("enum"), list)]
    _check_choices([str(value) for enum in enums for value in enum], field)
    counts = [part[name] for part in parts for name in _COUNTS if _is_count(part.get(name))]
    _check(max(counts, default=0), MOST_REPEATS, "items, characters or properties", field)
    _check_patterns([pattern for part in parts for pattern in _patterns(part)], field)


def _check_choices(choices: list[str], field: str) -> None:
    _check(len(choices), MOST_CHOICES, "choices", field)
    _check(sum(map(len, choices)), MOST_CHOICE_CHARACTERS, "characters of choices", field)


def _check_patterns(patterns: list[str], field: str) -> None:
    longest = max(map(len, patterns), default=0)
    _check(longest, MOST_PATTERN_CHARACTERS, "characters of pattern", field)
    what = "characters of pattern, repeats written out"
    _check(sum(map(written_out, patterns)), MOST_PATTERN_LENGTH, what, field)


def _check_grammar(grammar: str, field: str) -> None:
    _check(len(grammar), MOST_GRAMMAR_CHARACTERS, "characters of grammar", field)
    what = "characters of grammar, repeats written out"
    _check(written_out(grammar), MOST_GRAMMAR_CHARACTERS, what, field)


def _check(count: int, most: int, what: str, field: str) -> None:
    if count > most:
        raise InvalidRequest(
            f"{field} has {count} {what}; at most {most} are possible.",
            field,
            f"at most {most} {what}",
        )


def _objects(schema: Any) -> Iterator[Mapping[str, Any]]:
    """Every object in it, whether it is a schema or data: without recursion."""
    waiting = [schema]
    while waiting:
        part = waiting.pop()
        if isinstance(part, list):
            waiting.extend(part)
        elif isinstance(part, Mapping):
            yield part
            waiting.extend(part.values())


def _properties(part: Mapping[str, Any]) -> int:
    return sum(len(part[name]) for name in _LISTS if isinstance(part.get(name), Mapping))


def _optional_properties(part: Mapping[str, Any]) -> int:
    properties, required = part.get("properties"), part.get("required")
    if not isinstance(properties, Mapping):
        return 0
    names = filter(_is_name, required) if isinstance(required, list) else ()
    return len(properties.keys() - set(names))


def _patterns(part: Mapping[str, Any]) -> list[str]:
    own = part.get("pattern")
    keyed = part.get("patternProperties")
    patterns = [own] if isinstance(own, str) else []
    return [*patterns, *(keyed if isinstance(keyed, Mapping) else ())]


def _is_name(value: Any) -> bool:
    return isinstance(value, str)


def _is_count(value: Any) -> bool:
    return isinstance(value, int | float)
