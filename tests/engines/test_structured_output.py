"""What each engine does with each keyword of JSON schema, matched against its grammar."""

from typing import Any

import pytest

from engines.base import InvalidRequest
from tests.support.grammar_matchers import llguidance_matcher, xgrammar_matcher
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
