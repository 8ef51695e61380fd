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


@pytest.mark.vllm
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


@pytest.mark.vllm
@pytest.mark.parametrize("longest", [5, 5000, 10_000_000])
def test_a_string_with_a_length_holds_no_raw_control_character(longest: int) -> None:
    began = time.process_time()
    accepts = xgrammar_matcher({"type": "string", "minLength": 1, "maxLength": longest})
    assert time.process_time() - began < 2  # xgrammar's own patterns took a minute for 5000
    assert accepts('"é😀"')
    assert not accepts('"a\tb"')
    assert not accepts('"a\x01"')
    assert not accepts('""')
    assert accepts('"' + "a" * 6 + '"') == (longest > 5)


@pytest.mark.vllm
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


@pytest.mark.vllm
def test_a_number_of_an_enum_is_written_as_it_was_given() -> None:
    """xgrammar alone writes 0.1 as 0.10000000000000001: each such answer broke its own form."""
    values = [0.1, 19.99, 1e300, 10**25, -2.5, 3, "a", None, {"a": [0.7, 'é\n"@']}]
    accepts = xgrammar_matcher({"enum": values})
    for value in values:
        assert accepts(json.dumps(value, ensure_ascii=False, separators=(",", ":")))
    for other in ("0.10000000000000001", "1.0000000000000001e+25", "0", '"0.1"', '{"a":[0.7]}'):
        assert not accepts(other)
    assert xgrammar_matcher({"const": 0.3})("0.3")


@pytest.mark.parametrize("bound", [1e-7, 1.23456789, -0.00000005])
def test_a_bound_finer_than_xgrammar_writes_is_refused(bound: float) -> None:
    for key in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"):
        with pytest.raises(InvalidRequest, match=f"#/{key} cannot be enforced: .*6 decimals"):
            json_grammar({"type": "number", key: bound}, "form")


@pytest.mark.vllm
def test_no_schema_of_ordinary_size_takes_long() -> None:
    fields = {f"f{i}": {"type": "string", "maxLength": 2000, "minLength": i} for i in range(50)}
    schema = {"type": "object", "properties": fields, "required": list(fields)}
    began = time.process_time()
    json_grammar(schema, "response_format")
    assert time.process_time() - began < 1


@pytest.mark.vllm
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
