"""Forms are bounded by size before anything is compiled; what people write passes."""

from typing import Any

import pytest

from engines.answers import form_bounds
from engines.answers.form_bounds import check_form, written_out
from engines.base import InvalidRequest, Structure


def form(kind: Any, value: Any) -> Structure:
    return Structure(kind=kind, value=value)


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(depth):
        schema = {"type": "array", "items": schema}
    return schema


FITTING = {
    "no value": form("json_object", None),
    "a string of a page": form("json_schema", {"type": "string", "maxLength": 10_000}),
    "many properties": form(
        "json_schema",
        {
            "properties": {f"p{i}": {"type": "string"} for i in range(1_000)},
            "required": [f"p{i}" for i in range(700)],
        },
    ),
    "many choices": form("choice", [f"choice {i}" for i in range(1_000)]),
    "a pattern": form("regex", r"(\d{4}-\d{2}-\d{2}T[0-9:]{8}){100}"),
    "a grammar": form("grammar", 'root ::= "yes" | "no"\n' * 1_000),
}
TOO_LARGE = {
    "bytes": (form("json_schema", {"description": "x" * 2**17}), "bytes of schema"),
    "minItems": (form("json_schema", {"items": {}, "minItems": 10**6}), "1000000 items"),
    "maxItems inside": (
        form("json_schema", {"properties": {"a": {"maxItems": 10**6}}}), "items"),
    "minLength": (form("json_schema", {"minLength": 1e9}), "characters"),
    "maxProperties": (form("json_schema", {"maxProperties": 10**5}), "properties"),
    "properties": (
        form("json_schema", {"properties": {f"p{i}": {} for i in range(1_001)}}), "properties"),
    "properties of several": (
        form("json_schema", {"anyOf": [
            {"properties": {f"p{i}": {} for i in range(501)}} for _ in range(2)]}), "properties"),
    "optional properties": (
        form("json_schema", {"properties": {f"p{i}": {} for i in range(301)}, "required": [[]]}),
        "301 optional properties in one object"),
    "an enum": (form("json_schema", {"enum": list(range(1_001))}), "choices"),
    "choices": (form("choice", ["a"] * 50_000), "50000 choices"),
    "long choices": (form("choice", ["a" * 1000] * 66), "characters of choices"),
    "a long regex": (form("regex", "a" * 8_193), "characters of pattern"),
    "a repeat": (form("regex", "a{1,20000}"), "written out"),
    "repeats in repeats": (form("regex", "((a|b){200}c){200}"), "written out"),
    "a long number": (form("regex", "a{" + "9" * 5_000 + "}"), "written out"),
    "a schema's pattern": (form("json_schema", {"pattern": "(ab){9999}"}), "written out"),
    "a property's pattern": (
        form("json_schema", {"patternProperties": {"(ab){9999}": {}}}), "written out"),
    "a grammar of a megabyte": (form("grammar", 'root ::= "a"\n' * 80_000), "of grammar"),
    "a grammar's repeat": (form("grammar", 'root ::= ("a" "b"){100000}'), "written out"),
    "nested": (form("json_schema", nested(100_000)), "nested too deeply"),
}  # fmt: skip


@pytest.mark.parametrize("structure", FITTING.values(), ids=FITTING)
def test_an_ordinary_form_passes(structure: Structure) -> None:
    check_form(structure, "response_format")


@pytest.mark.parametrize(("structure", "words"), TOO_LARGE.values(), ids=TOO_LARGE)
def test_a_form_beyond_a_bound_is_refused_with_the_bound(structure: Structure, words: str) -> None:
    with pytest.raises(InvalidRequest, match=words) as refused:
        check_form(structure, "response_format")
    assert refused.value.param == "response_format"


@pytest.mark.parametrize(
    ("pattern", "length"),
    [
        ("", 0),
        ("abc", 3),
        ("a{3}", 3),
        ("a{2,5}b", 6),
        ("a{4,}", 4),
        (r"\d{3}\{x", 5),
        ("[a-z{}]{10}", 10),
        ("(ab){3}", 6),
        ("((a|b){3}c){2}", 20),
        ("a{", 2),
        (")(", 1),
    ],
)
def test_a_pattern_is_as_long_as_its_repeats_make_it(pattern: str, length: int) -> None:
    assert written_out(pattern) == length


def test_the_bounds_stand_in_the_documentation() -> None:
    from tests.support.paths import ROOT

    page = (ROOT / "docs" / "engines.md").read_text()
    for name in ("SCHEMA_BYTES", "GRAMMAR_CHARACTERS", "PATTERN_CHARACTERS", "CHOICES",
                 "CHOICE_CHARACTERS", "PROPERTIES", "OPTIONAL_PROPERTIES", "REPEATS",
                 "PATTERN_LENGTH"):  # fmt: skip
        assert f"{getattr(form_bounds, f'MOST_{name}'):,}" in page, name
