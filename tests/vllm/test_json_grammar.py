"""Strings of a schema on vLLM: as JSON writes them, without a bias, quickly."""

import json
import re
import time
from typing import Any

import pytest

from engines.base import InvalidRequest
from engines.vllm.json_grammar import JsonGrammars, json_grammar
from tests.support.grammar_matchers import xgrammar_matcher

TEXTS = [
    "\x01",
    "",
    "a",
    "b",
    "ab",
    'a"',
    '"a"',
    "\\",
    "\\n",
    "\n",
    "a\tb",
    "é",
    "😀",
    "-",
    "]",
    "a1 ",
    "\x01",
]
PATTERNS = [
    *("a", "^a", "a$", "^a|b$", "^(a|b)$", "^.$", "^[^a]$", '^"a"$', r"^\\n?$", r"^\n$", r"\x01"),
    *(
        r"^\w+\d\s$",
        r"^\W$",
        r"^\D*$",
        r"^[é-ÿ😀\-\]]$",
        "^a+?b*?$",
        "^(?:a|b){1,2}$",
        "^(?<x>a)$",
        "",
    ),
    *(r"^[\s\S]{1,2}$", r'^("|\\|a)+$', r"^[a-z\"]{2}$", "(^a|b)$", r"\/|-"),
    *("^(?<x>a)$", ""),
]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_lets_through_what_it_matches_and_only_json(pattern: str) -> None:
    accepts = xgrammar_matcher({"type": "string", "pattern": pattern})
    ours = re.compile(pattern.replace("(?<", "(?P<"), re.ASCII)
    for text in TEXTS:
        is_matched = bool(ours.search(text)) and not (text.endswith("\n") and pattern.endswith("$"))
        for spelled in (json.dumps(text), json.dumps(text, ensure_ascii=False)):
            if accepts(spelled):
                assert ours.search(text), text
        if is_matched and set('"\\\n\t\x01').isdisjoint(text):
            assert accepts(json.dumps(text, ensure_ascii=False)), text
        raw = f'"{text}"'
        if accepts(raw):
            assert isinstance(json.loads(raw), str)


@pytest.mark.parametrize("longest", [5, 5000, 10_000_000])
def test_a_string_with_a_length_holds_no_raw_control_character(longest: int) -> None:
    began = time.monotonic()
    accepts = xgrammar_matcher({"type": "string", "minLength": 1, "maxLength": longest})
    assert time.monotonic() - began < 2  # xgrammar's own patterns took a minute for 5000
    assert accepts('"é😀"')
    assert not accepts('"a\tb"')
    assert not accepts('"a\x01"')
    assert not accepts('""')
    assert accepts('"' + "a" * 6 + '"') == (longest > 5)


def test_names_and_values_that_look_like_our_marks_stay_what_they_are() -> None:
    schema = {
        "type": "object",
        "properties": {"@mark0@": {"type": "string", "maxLength": 2}, "b": {"enum": ["@mark0@"]}},
        "required": ["@mark0@", "b"],
    }
    accepts = xgrammar_matcher(schema)
    assert accepts('{"@mark0@":"aa","b":"@mark0@"}')
    assert not accepts('{"@mark0@":"aa","b":"aa"}')
    assert not accepts('{"aa":"aa","b":"@mark0@"}')


def test_no_schema_of_ordinary_size_takes_long() -> None:
    fields = {f"f{i}": {"type": "string", "maxLength": 2000, "minLength": i} for i in range(50)}
    schema = {"type": "object", "properties": fields, "required": list(fields)}
    began = time.monotonic()
    json_grammar(schema, "response_format")
    assert time.monotonic() - began < 1


def test_a_schema_that_comes_again_is_remembered() -> None:
    grammars = JsonGrammars()
    schema: Any = {"type": "object", "properties": {"a": {"type": "string", "maxLength": 9}}}
    first = grammars(schema, "tools")
    assert grammars(json.loads(json.dumps(schema)), "tools") is first
    assert first == json_grammar(schema, "response_format")


def test_a_schema_nested_without_end_is_refused() -> None:
    schema: Any = {}
    for _ in range(100_000):
        schema = {"items": schema}
    with pytest.raises(InvalidRequest, match="nested too deeply"):
        JsonGrammars()(schema, "response_format")
