"""Schemas taken apart: what is a schema in them, and what is data."""

from typing import Any

import pytest

from engines.answers.forced_calls import forced_schema
from engines.answers.json_schema import each_schema, moved, with_each
from engines.base import GenerateRequest, Sampling, Tool


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"$ref": "#"}, {"$ref": "#/x"}),
        ({"$ref": "#/properties/a"}, {"$ref": "#/x/properties/a"}),
        ({"$ref": "#/$defs/a~1b"}, {"$ref": "#/x/$defs/a~1b"}),
        ({"$ref": "other.json#/a"}, {"$ref": "other.json#/a"}),
        ({"$ref": "#anchor"}, {"$ref": "#anchor"}),
        ({"const": {"$ref": "#"}}, {"const": {"$ref": "#"}}),
        ({"enum": [{"$ref": "#"}]}, {"enum": [{"$ref": "#"}]}),
        ({"default": {"$ref": "#"}}, {"default": {"$ref": "#"}}),
        ({"examples": [{"$ref": "#"}]}, {"examples": [{"$ref": "#"}]}),
        ({"properties": {"$ref": {"$ref": "#"}}}, {"properties": {"$ref": {"$ref": "#/x"}}}),
        ({"properties": {"enum": {"$ref": "#"}}}, {"properties": {"enum": {"$ref": "#/x"}}}),
        ({"anyOf": [{"items": {"$ref": "#"}}]}, {"anyOf": [{"items": {"$ref": "#/x"}}]}),
        ({"$defs": {"const": {"$ref": "#"}}}, {"$defs": {"const": {"$ref": "#/x"}}}),
        (True, True),
    ],
)
def test_a_schema_that_moves_takes_its_references_along(schema: Any, expected: Any) -> None:
    assert moved(schema, "#/x") == expected


def test_every_schema_is_met_once_and_data_never() -> None:
    schema = {"properties": {"a": {"const": {"type": "x"}}, "b": {"items": [{}, {}]}}, "not": {}}
    assert len(list(each_schema(schema))) == 6
    marked = with_each(schema, lambda part: part | {"seen": True})
    assert marked["properties"]["a"] == {"const": {"type": "x"}, "seen": True}
    assert marked["properties"]["b"]["items"] == [{"seen": True}, {"seen": True}]
    assert marked["not"] == {"seen": True}


def test_tools_with_references_are_definitions_and_others_stay_in_place() -> None:
    tree = {"type": "object", "properties": {"next": {"$ref": "#"}}}
    plain = {"type": "object", "properties": {"a": {"enum": [{"$ref": "#"}]}}}
    schema = forced_schema(
        GenerateRequest(
            request_id="r",
            sampling=Sampling(max_tokens=1),
            tools=(Tool(name="plain", parameters=plain), Tool(name="tree", parameters=tree)),
            tool_choice="required",
            tool_parser="hermes",
        )
    )
    first, second = (call["properties"]["arguments"] for call in schema["items"]["anyOf"])
    assert first["properties"]["a"] == {"enum": [{"$ref": "#"}]}
    assert second == {"$ref": "#/$defs/t1"}
    assert schema["$defs"]["t1"]["properties"]["next"] == {"$ref": "#/$defs/t1"}
