"""Schemas said in few words: the same values fit, and what cannot be said is refused."""

import random
from typing import Any

import jsonschema
import pytest

from engines.answers.schema.plain import ApartOneOfs, plain_schema
from engines.base import InvalidRequest
from tests.support.grammar_matchers import spellings, xgrammar_matcher

FIELD = "response_format"
INTEGER, STRING = {"type": "integer"}, {"type": "string"}
CAT = {"type": "object", "properties": {"kind": {"const": "cat"}}, "required": ["kind"]}
DOG = {"type": "object", "properties": {"kind": {"const": "dog"}}, "required": ["kind"]}


def plain(schema: Any) -> Any:
    return plain_schema(schema, FIELD)


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"enum": ["ab", "cd", 5], "pattern": "^c"}, {"enum": ["cd", 5]}),
        ({"enum": ["ab", 5], "type": "string"}, {"enum": ["ab"]}),
        ({"enum": [1, 2, 3], "minimum": 2}, {"enum": [2, 3]}),
        ({"const": 1, "enum": [1, 2]}, {"enum": [1]}),
        ({"allOf": [INTEGER, {"minimum": 5}]}, {"type": "integer", "minimum": 5}),
        ({"minimum": 3, "exclusiveMinimum": True, **INTEGER}, {"type": "integer", "minimum": 4}),
        (
            {"type": "integer", "anyOf": [{"minimum": 5}, {"maximum": 1}]},
            {"anyOf": [{"type": "integer", "minimum": 5}, {"type": "integer", "maximum": 1}]},
        ),
        ({"anyOf": [INTEGER, False]}, INTEGER),
        ({"oneOf": [INTEGER, STRING]}, {"anyOf": [INTEGER, STRING]}),
        ({"type": "integer", "format": "int32", "title": "n"}, INTEGER),
        ({"type": ["string", "null"], "default": None}, {"anyOf": [STRING, {"type": "null"}]}),
        ({"type": "array", "items": False}, {"enum": [[]]}),
        (True, {}),
    ],
)
def test_keywords_are_put_together(schema: Any, expected: Any) -> None:
    assert plain(schema) == expected


def test_a_reference_finds_what_it_meant_wherever_it_leads() -> None:
    schema = {
        "type": "object",
        "properties": {"a": INTEGER, "b": {"$ref": "#/properties/a"}, "c": {"$ref": "#"}},
    }
    made = plain(schema)
    names = {made["properties"][name]["$ref"] for name in "bc"}
    assert {name.removeprefix("#/$defs/") for name in names} == made["$defs"].keys()
    assert INTEGER in made["$defs"].values()


def test_a_discriminated_union_is_taken() -> None:
    assert len(plain({"oneOf": [CAT, DOG]})["anyOf"]) == 2


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        (False, "no value fits"),
        ({"items": [INTEGER], "additionalItems": False, "minItems": 2}, "no value fits"),
        ({"type": "string", "const": 5}, "no value fits"),
        ({"oneOf": [CAT, CAT]}, "#/oneOf"),
        ({"oneOf": [INTEGER, {"type": "number"}]}, "#/oneOf"),
        ({"$ref": "#"}, "itself"),
        ({"anyOf": [{"$ref": "#"}, {"type": "null"}]}, "itself"),
        ({"allOf": [{"$ref": "#"}, INTEGER]}, "itself"),
        ({"$ref": "https://example.com/schema"}, "leads to nothing"),
        ({"type": "nonsense"}, "#/type"),
        ({"type": "string", "minLength": "2"}, "#/minLength"),
        ({"type": "object", "properties": []}, "#/properties"),
        ({"properties": {"a": 5}}, "#/properties/a"),
        ({"type": "string", "pattern": "(unclosed"}, "#/pattern"),
        ({"type": "string", "pattern": "(?i)a"}, "#/pattern"),
        ({"allOf": [{"pattern": "a"}, {"pattern": "b"}]}, "#/pattern"),
        ({"type": "string", "format": "json-pointer", "maxLength": 3}, "#/maxLength"),
        ({"type": "string", "format": "date", "pattern": "^2"}, "#/pattern"),
        ({"anyOf": [INTEGER], "unevaluatedItems": False}, "#/unevaluatedItems"),
    ],
)
def test_what_cannot_be_enforced_is_refused(schema: Any, said: str) -> None:
    with pytest.raises(InvalidRequest, match=said) as refusal:
        plain(schema)
    assert refusal.value.param == FIELD


def test_a_schema_that_multiplies_ends() -> None:
    doubled = {f"d{i}": {"allOf": [{"$ref": f"#/$defs/d{i + 1}"}] * 2} for i in range(40)}
    with pytest.raises(InvalidRequest, match="20000"):
        plain({"$ref": "#/$defs/d0", "$defs": doubled | {"d40": INTEGER}, "title": "t"})


def test_a_schema_that_is_nested_too_deeply_is_refused() -> None:
    schema: Any = {}
    for _ in range(2000):
        schema = {"items": schema}
    with pytest.raises(InvalidRequest, match="nested too deeply"):
        plain(schema)


PARTS: list[dict[str, Any]] = [
    {"type": "integer"},
    {"type": ["string", "integer"]},
    {"minimum": 2},
    {"maximum": 2},
    {"enum": [1, 2, "a", None, "ab"]},
    {"const": "ab"},
    {"minLength": 2},
    {"pattern": "b"},
    {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
    {"properties": {"a": {"minimum": 2}}, "additionalProperties": False},
    {"required": ["b"]},
    {"type": "array", "items": {"type": "integer"}, "minItems": 1},
    {"prefixItems": [{"const": 1}]},
    {"$ref": "#/$defs/n"},
]
VALUES: list[Any] = [
    *(1, 2, 3, "a", "ab", "b", None, True, [], [1], [2], ["a"], {}),
    *({"a": 1}, {"a": 2}, {"b": 1}, {"a": 1, "b": 1}, {"a": 2, "b": "x"}),
]


def drawn(seed: int) -> dict[str, Any]:
    """Two or three parts, side by side and inside one another."""
    source = random.Random(seed)
    schema: dict[str, Any] = {}
    for key in ("allOf", "anyOf", "beside"):
        chosen = source.sample(PARTS, 2)
        if source.random() < 0.6:
            schema |= chosen[0] if key == "beside" else {key: chosen}
    return schema | {"$defs": {"n": {"type": "integer", "minimum": 1}}}


@pytest.mark.vllm
@pytest.mark.parametrize("block", range(8))
def test_whatever_goes_through_fits_the_schema(block: int) -> None:
    """Of schemas drawn by chance; a refusal is no answer at all."""
    taken = 0
    for seed in range(block * 50, block * 50 + 50):
        schema = drawn(seed)
        try:
            accepts = xgrammar_matcher(schema)
        except InvalidRequest:
            continue
        valid = jsonschema.Draft202012Validator(schema).is_valid
        passed = [value for value in VALUES if any(map(accepts, spellings(value)))]
        assert all(map(valid, passed)), (schema, [v for v in passed if not valid(v)])
        taken += bool(passed)
    assert taken > 5


APART = {"type": "object", "properties": {"k": {"const": 1}}, "required": ["k"]}
OTHER = {"type": "object", "properties": {"k": {"const": 2}}, "required": ["k"]}


@pytest.mark.parametrize(
    ("part", "becomes"),
    [
        ({"oneOf": [{"const": 1}, {"const": 2}]}, {"anyOf": [{"const": 1}, {"const": 2}]}),
        ({"oneOf": [{"const": 1}, {"const": 1.0}]}, None),
        ({"oneOf": [{"const": "a"}, {"enum": ["b", "a"]}]}, None),
        ({"oneOf": [{"const": "a"}, STRING]}, None),
        ({"oneOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/b"}]}, ["#/$defs/a", "#/$defs/b"]),
        ({"oneOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/a"}]}, None),
        ({"oneOf": [{"$ref": "#/$defs/itself"}, INTEGER]}, None),
        ({"oneOf": [{"$ref": "#/nowhere"}, INTEGER]}, None),
        ({"oneOf": [{"const": 1}, 5]}, None),
        ({"oneOf": 5}, None),
        (INTEGER, None),
    ],
)
def test_a_one_of_whose_schemas_cannot_both_fit_is_an_any_of(part: Any, becomes: Any) -> None:
    root = part | {"$defs": {"a": APART, "b": OTHER, "itself": {"$ref": "#/$defs/itself"}}}
    found = ApartOneOfs(root, "f").as_any_of(part)
    if isinstance(becomes, list):
        becomes = {"anyOf": [{"$ref": reference} for reference in becomes]}
    assert found == (part if becomes is None else becomes)


def test_open_objects_are_apart_by_their_values_alone() -> None:
    """{"a": 1, "b": 1} would fit both; once they are closed it fits neither."""
    named: list[dict[str, Any]] = [
        {"type": "object", "properties": {name: INTEGER}, "required": [name]} for name in ("a", "b")
    ]
    part = {"oneOf": named}
    assert ApartOneOfs(part, "f").as_any_of(part) == part
    closed = [each | {"additionalProperties": False} for each in named]
    found = ApartOneOfs(part, "f", lambda part: part | {"oneOf": closed}).as_any_of(part)
    assert found == {"anyOf": closed}
    assert plain_schema(part, "f")["anyOf"]


def test_a_one_of_beside_an_any_of_keeps_both() -> None:
    part = {"anyOf": [STRING], "allOf": [STRING], "oneOf": [{"const": "a"}, {"const": "b"}]}
    both = [STRING, {"anyOf": part["oneOf"]}]
    assert ApartOneOfs(part, "f").as_any_of(part) == {"anyOf": [STRING], "allOf": both}
