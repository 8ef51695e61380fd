"""A reference that no value ends is refused; one that may end is not."""

import re
from typing import Any

import pytest

from engines.answers.schema.endless import check_ends
from engines.base import InvalidRequest

ITSELF = {"$ref": "#"}
LIST = {"type": "object", "properties": {"next": ITSELF}}
ENDLESS: list[tuple[Any, str]] = [
    (ITSELF, "#/$ref"),
    ({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}, "#/$ref"),
    ({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}, "#/$defs/a/$ref"),
    ({"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}]}}}, "#/$ref"),
    ({"$ref": "#/$defs/a", "$defs": {"a": {"allOf": [{"$ref": "#/$defs/a"}]}}}, "#/$ref"),
    ({"properties": {"x": {"$ref": "#/properties/x"}}, "required": ["x"]}, "#/properties/x/$ref"),
    (LIST | {"required": ["next"]}, "#/properties/next/$ref"),
    ({"required": ["x"], "additionalProperties": ITSELF}, "#/additionalProperties/$ref"),
    ({"type": "array", "items": ITSELF, "minItems": 1}, "#/items/$ref"),
    ({"type": "array", "prefixItems": [ITSELF], "minItems": 1}, "#/prefixItems/0/$ref"),
    ({"type": "array", "items": [ITSELF], "minItems": 1}, "#/items/0/$ref"),
]
ENDING: list[Any] = [
    LIST,
    LIST | {"required": ["other"]},
    {"properties": {"next": {"anyOf": [ITSELF, {"type": "null"}]}}, "required": ["next"]},
    {"type": ["object", "null"], "properties": {"next": ITSELF}, "required": ["next"]},
    {"type": "array", "items": ITSELF},
    {"type": "array", "prefixItems": [True], "items": ITSELF, "minItems": 1},
    {"oneOf": [{"type": "integer"}, {"type": "array", "items": ITSELF, "minItems": 1}]},
    {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"const": 1}}},
    {"$ref": "#/nowhere"},
    {"properties": {"x": {"const": {"$ref": "#"}}}, "required": ["x"]},
    True,
    {"type": 5, "required": "x", "minItems": "y", "anyOf": {}, "properties": []},
]


@pytest.mark.parametrize(("schema", "path"), ENDLESS)
def test_a_reference_that_no_value_ends_is_refused_by_its_path(schema: Any, path: str) -> None:
    with pytest.raises(InvalidRequest, match=re.escape(f"form: {path} cannot be enforced")):
        check_ends(schema, "form")


@pytest.mark.parametrize("schema", ENDING)
def test_a_reference_that_may_end_is_none(schema: Any) -> None:
    check_ends(schema, "form")
