"""What each engine does with each keyword of JSON schema, matched against its grammar."""

from typing import Any

import pytest

from engines.base import InvalidRequest
from tests.support.grammar_matchers import llguidance_matcher, spellings, xgrammar_matcher
from tests.support.structured_output_table import (
    ENGINES,
    PAGE,
    ROWS,
    page_with,
    table,
    unnamed,
    verdict,
)


@pytest.mark.vllm
@pytest.mark.parametrize("matcher", ENGINES, ids=["vllm", "llamacpp"])
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.keyword)
def test_a_keyword_is_enforced_or_refused(row: Any, matcher: Any) -> None:
    assert verdict(row, matcher) in ({"enforced", "refused"} if row.breaks else {"annotation"})


@pytest.mark.vllm
def test_the_page_says_what_the_engines_do() -> None:
    assert PAGE.read_text() == page_with(table())


A: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
NAMING: dict[str, Any] = {
    "alone": A,
    "with an annotation": A | {"x-order": 1},
    "a property's": {"properties": {"in": A}, "required": ["in"]},
    "an item's": {"type": "array", "items": A, "minItems": 1},
    "a definition's": {"$ref": "#/$defs/a", "$defs": {"a": A}},
    "an alternative's": {"anyOf": [A, {"type": "null"}]},
    "a oneOf's": {"oneOf": [A, {"type": "null"}]},
}
AROUND: dict[str, Any] = {"a property's": lambda one: {"in": one}, "an item's": lambda one: [one]}


@pytest.mark.vllm
@pytest.mark.parametrize("matcher", ENGINES, ids=["vllm", "llamacpp"])
@pytest.mark.parametrize("place", NAMING)
def test_an_object_that_names_its_properties_has_no_others(place: str, matcher: Any) -> None:
    accepts, around = matcher(NAMING[place]), AROUND.get(place, lambda one: one)
    assert any(map(accepts, spellings(around({"a": 1}))))
    assert not any(map(accepts, spellings(around({"a": 1, "b": 1}))))


@pytest.mark.vllm
@pytest.mark.parametrize("matcher", ENGINES, ids=["vllm", "llamacpp"])
def test_where_others_are_required_they_may_come(matcher: Any) -> None:
    accepts = matcher(A | {"required": ["a", "b"]})
    assert any(map(accepts, spellings({"a": 1, "b": 2})))
    assert not any(map(accepts, spellings({"a": 1})))


def test_every_keyword_has_a_row() -> None:
    assert unnamed() == set()


@pytest.mark.vllm
@pytest.mark.parametrize("matcher", [xgrammar_matcher, llguidance_matcher])
@pytest.mark.parametrize("keyword", ["not", "if", "uniqueItems", "dependentRequired"])
def test_a_refusal_names_the_keywords_path(keyword: str, matcher: Any) -> None:
    tags = {"type": "array", keyword: {"x": True}}
    with pytest.raises(InvalidRequest, match=f"#/properties/tags/{keyword} ") as refusal:
        matcher({"type": "object", "properties": {"tags": tags}})
    assert refusal.value.param == "response_format"
