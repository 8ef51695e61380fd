"""How calls are read and thoughts are marked: found in the template, or named by the registry."""

from dataclasses import replace
from typing import Any

import pytest

from engines.base import Reasoning
from engines.checking.model_files import ModelFiles, StoredVocabulary
from engines.checking.reasoning import bounds_findings, parser_finding, reasoning_findings
from engines.checking.rendering import Rendered, TemplateTrial
from engines.checking.tools import tool_findings
from engines.llamacpp.tools import MARKS
from engines.registry.spec import EngineSpec, ModelSpec, ThoughtBounds

HERMES = "{{ tools }}<tool_call>{{ tool_calls }}</tool_call>"
CODER = "{{ tools }}<tool_call><function={{ tool_calls }}"
KIMI = "{{ tools }}<|tool_calls_section_begin|>"
PLAIN = "{{ messages }}"


def told(
    template: str | None,
    named: str | None = None,
    readable: Any = None,
    tokens: tuple[str, ...] | None = (),
) -> tuple[str, str]:
    ids = None if tokens is None else StoredVocabulary(ids={t: i for i, t in enumerate(tokens)})
    files = ModelFiles(kind="folder", template=template, vocabulary=ids)
    [found] = tool_findings(files, named, readable)
    return found.verdict, found.text


@pytest.mark.parametrize(
    ("template", "named", "readable", "verdict", "words"),
    [
        (HERMES, None, None, "ok", "hermes, found in the template"),
        (HERMES, None, MARKS, "ok", "hermes, found in the template"),
        (CODER, None, None, "ok", "qwen3_coder, found"),
        (CODER, None, MARKS, "note", "qwen3_coder, which this engine does not read: calls are"),
        (PLAIN, None, None, "note", "no known form: calls are asked for in Fjord's words"),
        (None, None, None, "note", "no chat template: no tools"),
        (HERMES, "none", None, "ok", "tools have no effect"),
        (HERMES, "hermes", None, "ok", "hermes, as the registry says and the template shows"),
        (CODER, "hermes", None, "note", "the marks in the template are those of qwen3_coder"),
        (PLAIN, "hermes", None, "ok", "the template shows no form"),
        (PLAIN, "glm45", None, "note", "the template does not show its marks"),
        (PLAIN, "deepseek_v3", None, "ok", "with Fjord's template"),
        (PLAIN, "cohere_command4", None, "ok", "its marks are not known here"),
        (CODER, "qwen3_coder", MARKS, "note", "hermes, llama3_json alone: only forced calls work"),
    ],
)
def test_which_parser_reads_calls(
    template: str | None, named: str | None, readable: Any, verdict: str, words: str
) -> None:
    found, text = told(template, named, readable)
    assert found == verdict
    assert words in text


def test_a_mark_that_is_no_token_does_not_count() -> None:
    assert told(KIMI)[0] == "note"
    assert told(KIMI, tokens=("<|tool_calls_section_begin|>",))[0] == "ok"
    assert told(KIMI, tokens=None)[0] == "ok"  # a vocabulary that cannot be read has them


def test_mistral_is_known_by_its_token() -> None:
    assert told(None, tokens=("[TOOL_CALLS]",)) == ("ok", "mistral, found in the template")


THINKS = "<think>{{ m }}</think>"
TOKENS = ("<think>", "</think>")


def thought(
    template: str,
    entry: Reasoning | None = None,
    opening: str = "",
    tokens: tuple[str, ...] = TOKENS,
    in_registry: bool = False,
) -> tuple[str, str]:
    ids = StoredVocabulary(ids={token: i for i, token in enumerate(tokens)})
    files = ModelFiles(kind="folder", template=template, vocabulary=ids)
    trial = TemplateTrial(
        rendered={"user": Rendered(text=f"What?<|im_start|>assistant\n{opening}")}
    )
    [found] = reasoning_findings(files, trial, entry, in_registry)
    return found.verdict, found.text


@pytest.mark.parametrize(
    ("opening", "opened_by"),
    [("<think>\n", "template"), ("<think>\n\n</think>\n\n", "model"), ("", "model")],
)
def test_a_thought_that_the_registry_does_not_know(opening: str, opened_by: str) -> None:
    verdict, text = thought(THINKS, opening=opening)
    assert verdict == "note"
    assert text.endswith(f"in a registry it needs reasoning: {{opened_by: {opened_by}}}")
    assert "entry says no reasoning" in thought(THINKS, in_registry=True)[1]


def test_other_marks_are_named_in_full() -> None:
    text = thought("[THINK][/THINK]")[1]
    assert text.endswith('{start: "[THINK]", end: "[/THINK]", opened_by: model}')


def test_a_model_that_does_not_think() -> None:
    assert thought(PLAIN, tokens=()) == ("ok", "no marks of a thought in the template")


def test_marks_of_the_registry_are_held_against_the_model() -> None:
    entry = Reasoning(opened_by="template")
    assert thought(THINKS, entry)[0] == "ok"
    assert thought(PLAIN, entry)[0] == "ok"  # the vocabulary has them
    verdict, text = thought(PLAIN, entry, tokens=())
    assert verdict == "note"
    assert "neither the template nor the vocabulary" in text
    assert "being no single tokens" in thought(THINKS, entry, tokens=())[1]


def test_who_opens_a_thought_counts_where_its_marks_are_no_tokens() -> None:
    entry = Reasoning(opened_by="template")
    assert thought(THINKS, entry, "</think>")[0] == "ok"
    assert thought(THINKS, entry, "</think>", tokens=())[0] == "note"
    assert thought(THINKS, entry, "<think>", tokens=())[0] == "ok"


@pytest.mark.parametrize(
    ("parser", "verdict"), [(None, "ok"), ("qwen3", "ok"), ("of_nobody", "fail")]
)
def test_vllms_own_parser_of_thoughts(parser: str | None, verdict: str) -> None:
    assert parser_finding(parser).verdict == verdict


@pytest.mark.parametrize(
    ("tokens", "output", "verdicts"),
    [(TOKENS, 4096, ["ok"]), (TOKENS, 1024, ["ok", "note"]), (("<think>",), 4096, ["fail"])],
)
def test_bounds_of_thoughts_are_held_against_the_model(
    tokens: tuple[str, ...], output: int, verdicts: list[str]
) -> None:
    ids = StoredVocabulary(ids={token: i for i, token in enumerate(tokens)})
    files = ModelFiles(kind="folder", template=THINKS, vocabulary=ids)
    bounds = ThoughtBounds(budgets={"low": 100}, default=1024, most=2048)
    engine = EngineSpec(kind="vllm", source="x")
    spec = ModelSpec(
        alias="x",
        engine=engine,
        context_tokens=8192,
        output_tokens=output,
        reasoning=Reasoning(),
        thought_bounds=bounds,
    )
    found = list(bounds_findings(files, spec))
    assert [each.verdict for each in found] == verdicts
    assert not list(bounds_findings(files, replace(spec, thought_bounds=ThoughtBounds())))
