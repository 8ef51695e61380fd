"""What is called broken is broken, by an independent library's word, and never a good answer."""

import json
import time
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.answers.schema.holds import TooMuch, holds, parsed
from engines.answers.schema.safe_patterns import may_match
from tests.support.structured_output_table import ROWS

VALUES: list[Any] = [
    *(
        None,
        True,
        False,
        0,
        1,
        3,
        5,
        7,
        9,
        -1,
        0.5,
        2.5,
        3.0,
        1e30,
        "",
        "a",
        "ab",
        "abc",
        "cd",
        "x1",
    ),
    *([], [1], [1, "a"], [1, 2, 3], ["a"], {}, {"a": 1}, {"a": "1"}, {"a": 1, "b": 2}, {"x": 1}),
    *({"x": "a"}, {"c": "s"}, {"a": {"a": {}}}, {"x": [1]}, 'a"\n', 'b"', '"a"', "2026-01-01"),
]
KNOWN = {row.keyword: row for row in ROWS}


READABLE = [row for row in ROWS if "$dynamicRef" not in row.schema]
"""jsonschema looks for a dynamic anchor that the refused example has not."""


@pytest.mark.parametrize("row", READABLE, ids=lambda row: row.keyword)
def test_it_calls_broken_what_breaks_and_nothing_that_fits(row: Any) -> None:
    for value in [*row.fits, *row.breaks, *VALUES]:
        is_valid = jsonschema.Draft202012Validator(row.schema).is_valid(value)
        if is_valid:
            assert holds(row.schema, parsed(json.dumps(value))), value


@pytest.mark.parametrize(
    "keyword", ["type", "enum", "const", "minimum, maximum", "items", "required", "anyOf", "$ref"]
)
def test_it_finds_what_breaks(keyword: str) -> None:
    row = KNOWN[keyword]
    assert row.breaks
    for value in row.breaks:
        assert not holds(row.schema, parsed(json.dumps(value))), value


SCHEMAS = st.recursive(
    st.sampled_from([
        {"type": "integer"}, {"type": ["string", "null"]}, {"enum": [1, "a", None, True]},
        {"minLength": 2}, {"maxLength": 1}, {"minimum": 1}, {"exclusiveMaximum": 3}, True, False,
        {"multipleOf": 2}, {"const": {"a": 1}}, {"minItems": 1}, {"maxProperties": 1},
    ]),
    lambda inner: st.one_of(
        st.builds(lambda a: {"items": a}, inner),
        st.builds(lambda a, b: {"prefixItems": [a], "items": b}, inner, inner),
        st.builds(lambda a, b: {"properties": {"a": a}, "additionalProperties": b}, inner, inner),
        st.builds(lambda a, b: {"anyOf": [a, b]}, inner, inner),
        st.builds(lambda a, b: {"allOf": [a, b], "required": ["a"]}, inner, inner),
        st.builds(lambda a: {"propertyNames": a}, inner),
    ),
    max_leaves=6,
)  # fmt: skip


@given(SCHEMAS, st.sampled_from(VALUES))
@settings(max_examples=400, deadline=None)
def test_it_says_what_jsonschema_says(schema: Any, value: Any) -> None:
    theirs = jsonschema.Draft202012Validator(schema).is_valid(value)
    assert holds(schema, parsed(json.dumps(value))) == theirs


@pytest.mark.parametrize(
    ("schema", "text", "is_kept"),
    [
        ({"exclusiveMaximum": 3}, "2." + "9" * 400, True),
        ({"maximum": 2.5}, "2.5" + "0" * 40 + "1", False),
        ({"type": "integer"}, "9" * 6_000, True),
        ({"type": "integer"}, "1.0", True),
        ({"type": "integer"}, "1.5", False),
        ({"minimum": 5, "exclusiveMinimum": True}, "5.5", True),
        ({"required": True}, "{}", True),
        ({"multipleOf": 0.1}, "0.3", True),
        ({"multipleOf": 0.1}, "0.35", False),
        ({"items": [{"type": "integer"}]}, '["a"]', False),
        ({"pattern": "^(a"}, '"b"', True),
        ({"$ref": "#/nowhere"}, "1", True),
    ],
)
def test_ends_of_ranges_and_odd_schemas(schema: Any, text: str, is_kept: bool) -> None:
    assert holds(schema, parsed(text)) == is_kept


@pytest.mark.parametrize("text", ["", "{", "NaN", '{"a":1}x', '"\x01"', "01", "[1,]"])
def test_what_is_no_json_is_none(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        parsed(text)


def test_its_work_is_bounded() -> None:
    twice = {"anyOf": [{"items": {"$ref": "#"}, "maxItems": 0}, {"items": {"$ref": "#"}}]}
    value = parsed("[" * 150 + "1" + "]" * 150)
    began = time.process_time()
    with pytest.raises(TooMuch):
        holds({"allOf": [twice], "type": "array"} | {"$ref": "#"}, value, 10_000)
    assert time.process_time() - began < 1
    with pytest.raises(TooMuch):
        parsed("[" * 100_000)


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("^a$", "b", False),
        ("^a$", "a", True),
        ("b", "abc", True),
        (r"^\w{2}$", "a!", False),
        (r"^[\d]$", "x", False),
        (r"^[^\d]$", "٣", True),
        (r"^\D$", "٣", True),
        ("^a{,3}$", "a{,3}", True),
        ("^[a&&b]$", "&", True),
        ("^[[a]b]$", "[b]", True),
        ("^(?=a)b$", "b", True),
        ("^.$", "\ud800", True),
        ("^(a+)+$", "a" * 5_000 + "b", False),
    ],
)
def test_a_pattern_that_another_library_reads_otherwise_is_never_broken(
    pattern: str, text: str, matches: bool
) -> None:
    began = time.process_time()
    assert may_match(text, pattern) is matches
    assert time.process_time() - began < 1
