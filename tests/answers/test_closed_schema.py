"""Objects are closed where that leaves something that fits, and are left alone elsewhere."""

from typing import Any

import pytest

from engines.answers.closed_schema import closed

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
