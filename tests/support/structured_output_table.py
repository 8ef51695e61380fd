"""docs/structured-output.md: its table, filled by matching values against each engine's grammar.

`python -m tests.support.structured_output_table` writes it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from engines.answers.schema.keywords import ENFORCED, REFUSED
from engines.base import InvalidRequest
from tests.support.grammar_matchers import (
    Matcher,
    llguidance_matcher,
    spellings,
    xgrammar_matcher,
)
from tests.support.paths import ROOT

PAGE = ROOT / "docs" / "structured-output.md"
BEGIN = "| keyword | example | vllm | llamacpp |\n|---|---|---|---|\n"
ENGINES: Sequence[Callable[[Any], Matcher]] = (xgrammar_matcher, llguidance_matcher)


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """A keyword, a schema that has it, values that fit and values that do not."""

    keyword: str
    schema: dict[str, Any]
    fits: list[Any]
    breaks: list[Any] = field(default_factory=list)
    note: str = ""


@cache
def verdict(row: Row, matcher: Callable[[Any], Matcher]) -> str:
    """What an engine does with the keyword. Raises AssertionError where it is neither."""
    try:
        accepts = matcher(row.schema)
    except InvalidRequest:
        return "refused"
    for value in row.fits:
        assert any(map(accepts, spellings(value))), f"{row.schema} does not let {value!r} through"
    passed = [value for value in row.breaks if any(map(accepts, spellings(value)))]
    assert not passed, f"{row.schema} lets {passed!r} through"
    return "enforced" if row.breaks else "annotation"


def table() -> str:
    lines = []
    for row in ROWS:
        cells = [verdict(row, matcher) for matcher in ENGINES]
        lines.append(f"| {row.keyword} | `{_short(row.schema)}` | {' | '.join(cells)} |")
    return BEGIN + "\n".join(lines) + "\n"


def page_with(table: str) -> str:
    text = PAGE.read_text()
    start = text.index(BEGIN)
    end = text.index("\n\n", start) + 1
    return text[:start] + table + text[end:]


def _short(schema: dict[str, Any]) -> str:
    return spellings(schema)[1].replace("|", "\\|")


def unnamed() -> set[str]:
    """Keywords that no row has."""
    return set(ENFORCED | REFUSED) - {key for row in ROWS for key in _keys(row.schema)}


def _keys(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set(value).union(*map(_keys, value.values()))
    return set().union(*map(_keys, value)) if isinstance(value, list) else set()


AB = {"a": {"type": "integer"}, "b": {"type": "integer"}}
STRING, ARRAY, OBJECT = {"type": "string"}, {"type": "array"}, {"type": "object"}
INTEGER, NUMBER = {"type": "integer"}, {"type": "number"}
DOGS = {"dog": {"const": 1}, "cat": {"const": 2}}
ROWS = (
    Row("type", {"type": ["integer", "null"]}, [1, None], ["a", 1.5, True]),
    Row("enum", {"enum": ["a", 1, None, {"x": [1]}]}, ["a", 1, None, {"x": [1]}], ["b", 2]),
    Row("const", {"const": 'a"\n'}, ['a"\n'], ["a"]),
    Row("enum of fractions", {"enum": [0.1, 19.99]}, [0.1, 19.99], [0.2]),
    Row("enum beside others", {"enum": ["ab", "cd"], "pattern": "^c"}, ["cd"], ["ab"]),
    Row("minLength, maxLength", STRING | {"minLength": 2, "maxLength": 3}, ["ab", "é😀"], ["a"]),
    Row("maxLength", STRING | {"maxLength": 4}, ["abcd"], ["abcde"]),
    Row("pattern", STRING | {"pattern": "^[a-c]+$"}, ["abc"], ["d", ""]),
    Row("pattern, open at its ends", STRING | {"pattern": "b"}, ["abc"], ["ac"]),
    Row("pattern that spells a quote", STRING | {"pattern": '^"a"$'}, ['"a"'], ["a"]),
    Row("… before a class", STRING | {"pattern": '^"[a-c]+"$'}, ['"ab"'], ["ab", '"d"']),
    Row("pattern with a look-ahead", STRING | {"pattern": "^(?=a)b$"}, [], ["b"]),
    Row("pattern and a length", STRING | {"pattern": "^[a-z]+$", "maxLength": 2}, ["ab"], ["abc"]),
    Row(
        "… that it does not imply",
        STRING | {"pattern": "^a[b-z]+$", "maxLength": 2},
        ["ab"],
        ["abc"],
    ),
    *(
        Row(f"format: {name}", STRING | {"format": name}, [good], [bad] if bad else [])
        for name, good, bad in (
            ("date", "2020-01-31", "2020-1-31"),
            ("time", "12:00:00Z", "12"),
            ("date-time", "2020-01-31T12:00:00Z", "2020-01-31"),
            ("duration", "P1D", "1D"),
            ("email", "a@example.com", "a"),
            ("hostname", "example.com", "a b"),
            ("ipv4", "10.0.0.1", "10.0.0"),
            ("ipv6", "2001:db8::1", "10"),
            ("uuid", "123e4567-e89b-12d3-a456-426614174000", "123"),
        )
    ),
    Row("format: another name", STRING | {"format": "phone"}, ["a", "1"]),
    Row("minimum, maximum", INTEGER | {"minimum": 3, "maximum": 7}, [3, 7], [2, 8]),
    Row("… of a number", NUMBER | {"minimum": 0.5, "maximum": 2.5}, [0.5, 2], [0.25, 3]),
    Row(
        "… with over 6 decimals",
        {"type": "number", "minimum": 0, "maximum": 0.0000005},
        [0],
        [1, -1],
    ),
    Row("exclusiveMinimum", INTEGER | {"exclusiveMinimum": 3}, [4], [3]),
    Row("exclusiveMaximum", NUMBER | {"exclusiveMaximum": 3}, [2.5], [3, 4]),
    Row(
        "multipleOf within bounds",
        INTEGER | {"multipleOf": 3, "minimum": 0, "maximum": 9},
        [6],
        [7],
    ),
    Row("multipleOf", INTEGER | {"multipleOf": 3}, [6], [7]),
    Row("items", ARRAY | {"items": INTEGER}, [[], [1, 2]], [["a"]]),
    Row(
        "minItems, maxItems",
        ARRAY | {"minItems": 1, "maxItems": 2},
        [[1], [1, "a"]],
        [[], [1, 2, 3]],
    ),
    Row("prefixItems", ARRAY | {"prefixItems": [INTEGER, STRING]}, [[1, "a"]], [["a", 1]]),
    Row(
        "items after prefixItems",
        ARRAY | {"prefixItems": [INTEGER], "items": False},
        [[1]],
        [[1, 2]],
    ),
    Row(
        "unevaluatedItems",
        ARRAY | {"prefixItems": [INTEGER], "unevaluatedItems": False},
        [[1]],
        [[1, 2]],
    ),
    Row("uniqueItems", ARRAY | {"uniqueItems": True}, [[1]], [[1, 1]]),
    Row("contains", ARRAY | {"contains": {"const": 1}}, [[1]], [[2]]),
    Row("minContains", ARRAY | {"contains": {"const": 1}, "minContains": 2}, [[1, 1]], [[1]]),
    Row("maxContains", ARRAY | {"contains": {"const": 1}, "maxContains": 1}, [[1]], [[1, 1]]),
    Row("properties", OBJECT | {"properties": AB}, [{}, {"a": 1}, {"a": 1, "b": 2}], [{"a": "x"}]),
    Row("required", OBJECT | {"properties": AB, "required": ["a"]}, [{"a": 1}], [{}, {"b": 1}]),
    Row("required, not in properties", OBJECT | {"required": ["a"]}, [{"a": 1}], [{}]),
    Row(
        "additionalProperties",
        OBJECT | {"properties": AB, "additionalProperties": STRING},
        [{"a": 1, "c": "x"}],
        [{"c": 1}],
    ),
    Row(
        "unevaluatedProperties",
        OBJECT | {"properties": AB, "unevaluatedProperties": False},
        [{"a": 1}],
        [{"c": 1}],
    ),
    Row(
        "patternProperties",
        OBJECT | {"patternProperties": {"^x": INTEGER}},
        [{"xa": 1}],
        [{"xa": "s"}],
    ),
    Row(
        "patternProperties beside properties",
        OBJECT | {"properties": AB, "patternProperties": {"^x": INTEGER}},
        [{"a": 1, "xa": 1}],
        [{"xa": "s"}],
    ),
    Row(
        "propertyNames",
        OBJECT | {"propertyNames": {"pattern": "^[a-z]+$"}},
        [{"ab": 1}],
        [{"A": 1}],
    ),
    Row("minProperties", OBJECT | {"minProperties": 1}, [{"a": 1}], [{}]),
    Row("maxProperties", OBJECT | {"maxProperties": 1}, [{"a": 1}], [{"a": 1, "b": 2}]),
    Row("… beside properties", OBJECT | {"properties": AB, "minProperties": 1}, [{"a": 1}], [{}]),
    Row("anyOf", {"anyOf": [INTEGER, STRING]}, [1, "a"], [True]),
    Row("anyOf beside others", INTEGER | {"anyOf": [{"minimum": 5}, {"maximum": 1}]}, [6, 0], [3]),
    Row("oneOf whose schemas cannot both fit", {"oneOf": [INTEGER, STRING]}, [1, "a"], [True]),
    Row("… of single values", {"oneOf": [{"const": 1}, {"const": 2}]}, [1, 2], [3]),
    Row(
        "… of references, told apart by a property",
        {
            "oneOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/b"}],
            "$defs": {
                name: OBJECT | {"properties": {"k": {"const": name}}, "required": ["k"]}
                for name in "ab"
            },
        },
        [{"k": "a"}, {"k": "b"}],
        [{"k": "c"}, {}],
    ),
    Row(
        "… of objects that each require another property",
        {
            "oneOf": [
                OBJECT | {"properties": {name: INTEGER}, "required": [name]} for name in ("a", "b")
            ]
        },
        [{"a": 1}, {"b": 2}],
        [{"a": 1, "b": 2}, {}],
    ),
    Row("oneOf", {"oneOf": [INTEGER, {"type": "integer", "minimum": 5}]}, [1], [6]),
    Row("allOf", {"allOf": [INTEGER, {"minimum": 5}]}, [6], [1, "a"]),
    Row("not", {"not": INTEGER}, ["a"], [1]),
    Row("if, then, else", {"if": INTEGER, "then": {"minimum": 5}, "else": STRING}, [6], [1]),
    Row(
        "dependentRequired",
        OBJECT | {"properties": AB, "dependentRequired": {"a": ["b"]}},
        [{}],
        [{"a": 1}],
    ),
    Row(
        "dependentSchemas",
        OBJECT | {"properties": AB, "dependentSchemas": {"a": {"required": ["b"]}}},
        [{}],
        [{"a": 1}],
    ),
    Row(
        "dependencies", OBJECT | {"properties": AB, "dependencies": {"a": ["b"]}}, [{}], [{"a": 1}]
    ),
    Row("$ref", {"$ref": "#/$defs/n", "$defs": {"n": INTEGER}}, [1], ["a"]),
    Row("$ref to itself", OBJECT | {"properties": {"a": {"$ref": "#"}}}, [{"a": {}}], [{"a": 1}]),
    Row(
        "… that nothing ends",
        OBJECT | {"properties": {"a": {"$ref": "#"}}, "required": ["a"]},
        [],
        [{}, {"a": 1}],
    ),
    Row(
        "$ref beside others", {"$ref": "#/$defs/n", "minimum": 5, "$defs": {"n": INTEGER}}, [6], [1]
    ),
    Row("$dynamicRef", {"$dynamicRef": "#n", "$defs": {"n": INTEGER}}, [1], ["a"]),
    Row("$recursiveRef", OBJECT | {"properties": {"a": {"$recursiveRef": "#"}}}, [{}], [{"a": 1}]),
    Row("title, description, default, …", {"type": "integer", "title": "t", "default": 1}, [1]),
    Row("a keyword nobody knows", {"type": "integer", "x-order": 1}, [1]),
)

if __name__ == "__main__":
    PAGE.write_text(page_with(table()))
