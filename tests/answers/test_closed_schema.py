"""Objects are closed where that leaves something that fits, and are left alone elsewhere."""

from typing import Any

import pytest

from engines.answers.closed_schema import closed, with_closed_branches

A: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "integer"}}}
CLOSED_A = A | {"additionalProperties": False}


@pytest.mark.parametrize(
    ("schema", "wanted"),
    [
        (A, CLOSED_A),
        (
            {"type": "object", "properties": {}},
            {**A, "properties": {}} | {"additionalProperties": False},
        ),
        (
            {"properties": {"deep": A, "many": {"type": "array", "items": A}}},
            {
                "properties": {"deep": CLOSED_A, "many": {"type": "array", "items": CLOSED_A}},
                "additionalProperties": False,
            },
        ),
        ({"$ref": "#/$defs/x", "$defs": {"x": A}}, {"$ref": "#/$defs/x", "$defs": {"x": CLOSED_A}}),
    ],
    ids=["named", "none", "nested", "definitions"],
)
def test_a_plain_object_has_only_the_properties_it_names(schema: Any, wanted: Any) -> None:
    assert closed(schema) == wanted


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object"},
        A | {"additionalProperties": {"type": "string"}},
        A | {"patternProperties": {"^x": {}}},
        A | {"anyOf": [{"properties": {"b": {}}}, {"properties": {"c": {}}}]},
        {"allOf": [{"$ref": "#/$defs/x"}, {"properties": {"b": {}}}], "$defs": {"x": A}},
        {"properties": {"one": {"$ref": "#/$defs/x", "properties": {"b": {}}}}, "$defs": {"x": A}},
        A | {"if": {"properties": {"a": {"const": 1}}}, "then": {"required": ["b"]}},
        True,
        {"type": "object", "properties": {"a": True}, "maxProperties": 5},
    ],
    ids=lambda s: " ".join(s) if isinstance(s, dict) else str(s),
)
def test_what_says_more_than_its_properties_stays_as_it_is(schema: Any) -> None:
    assert closed(schema) == schema


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"b": {}}, "anyOf": [{"$ref": "#/$defs/x"}], "$defs": {"x": A}},
        {"required": ["b"], "$ref": "#/$defs/x", "$defs": {"x": A}},
        {"oneOf": [{"$ref": "#/$defs/x"}], "anyOf": [{"required": ["b"]}], "$defs": {"x": A}},
        A | {"required": ["b"]},
        A | {"required": "a"},
        {"properties": [A]},
        {"oneOf": [A]},
    ],
    ids=["any of", "a reference", "both", "requires others", "no list", "no object", "one of"],
)
def test_nothing_is_closed_that_another_schema_or_word_may_need_open(schema: Any) -> None:
    assert closed(schema) == schema


def test_alternatives_are_closed_each_for_itself() -> None:
    null = {"type": "null"}
    assert closed({"anyOf": [A, null]}) == {"anyOf": [CLOSED_A, null]}
    assert closed(A | {"x-order": 1, "title": "t"}) == CLOSED_A | {"x-order": 1, "title": "t"}
    assert with_closed_branches({"oneOf": [A, null]}, "oneOf") == {"oneOf": [CLOSED_A, null]}
    beside = {"oneOf": [A], "required": ["b"]}
    assert with_closed_branches(beside, "oneOf") == beside
