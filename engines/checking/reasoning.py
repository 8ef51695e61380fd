"""How a model marks its thinking, and whether the registry knows it."""

from collections.abc import Iterator
from typing import Literal

from engines.answers.tool_parsers import template_text
from engines.base import Reasoning
from engines.checking.chats import USER
from engines.checking.findings import Finding, bounded, fail, note, ok
from engines.checking.model_files import ModelFiles
from engines.checking.rendering import TemplateTrial
from engines.registry.spec import ModelSpec
from engines.registry.vllm_names import vllm_reasoning_parser_names

MARKS = (
    ("<think>", "</think>"),
    ("[THINK]", "[/THINK]"),
    ("<seed:think>", "</seed:think>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("◁think▷", "◁/think▷"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<reasoning>", "</reasoning>"),
    ("<|channel|>analysis<|message|>", "<|end|>"),
)
"""What stands around a thought, by the models that are known."""


def reasoning_findings(
    files: ModelFiles, trial: TemplateTrial, entry: Reasoning | None, in_registry: bool
) -> Iterator[Finding]:
    """`entry`: the alias' `reasoning`; `in_registry`: whether it is an alias at all."""
    found = _found(files)
    if entry is not None:
        yield _of_entry(files, trial, entry)
    elif found is None:
        yield ok("reasoning.marks", "no marks of a thought in the template")
    else:
        start, end = found
        opened = _opened_by(trial, start, end)
        told = f"the template marks thoughts with {start} and {end}"
        what = "the registry's entry says no" if in_registry else "in a registry it needs"
        yield note("reasoning.marks", f"{told}; {what} reasoning: {_yaml(start, end, opened)}")


def bounds_findings(files: ModelFiles, spec: ModelSpec) -> Iterator[Finding]:
    """Whether the alias' bounds of thoughts can be kept: every request of it has one."""
    bounds, marks, vocabulary = spec.thought_bounds, spec.reasoning, files.vocabulary
    if marks is None or not bounds.named:
        return
    spelled = [mark for mark in (marks.start, marks.end) if vocabulary and not vocabulary.has(mark)]
    if spelled:
        what = f"{' and '.join(spelled)}: no single token here, so that no thought can be bounded"
        yield fail("reasoning.bounds", f"{what}, and requests are refused")
        return
    told = [f"{word} {tokens}" for word, tokens in bounds.named.items()]
    yield ok("reasoning.bounds", f"a thought's most tokens: {', '.join(told)}")
    for word, tokens in bounds.named.items():
        if word != "most" and tokens >= spec.output_tokens:
            what = f"{word} leaves no room: an answer has {spec.output_tokens} tokens in all"
            yield note("reasoning.bounds", what)


def parser_finding(parser: object) -> Finding:
    """vLLM's own reasoning_parser, of a model that thinks by the registry."""
    if parser is None:
        what = "no reasoning_parser in args: Fjord puts an answer's form behind the thoughts itself"
        return ok("reasoning.parser", what)
    if parser not in vllm_reasoning_parser_names():
        return fail("reasoning.parser", f"vLLM has no reasoning_parser {bounded(parser, 40)}")
    return ok("reasoning.parser", f"vLLM's reasoning_parser {parser}")


def _found(files: ModelFiles) -> tuple[str, str] | None:
    template = template_text(files.template) or ""
    return next((pair for pair in MARKS if all(mark in template for mark in pair)), None)


def _of_entry(files: ModelFiles, trial: TemplateTrial, entry: Reasoning) -> Finding:
    marks = (entry.start, entry.end)
    shown = f"{entry.start} and {entry.end}, as the registry says"
    if not _is_there(files, marks):
        what = f"{shown}; neither the template nor the vocabulary has them"
        return note("reasoning.marks", what)
    if files.vocabulary is None or all(map(files.vocabulary.has, marks)):
        return ok("reasoning.marks", shown)  # the prompt's own end counts, whatever is said here
    opened = _opened_by(trial, *marks)
    if opened is not None and opened != entry.opened_by:
        what = f"{shown}; but it is the {opened} that opens a thought, not the {entry.opened_by}"
        return note("reasoning.marks", what)
    return ok("reasoning.marks", f"{shown}; found as text, being no single tokens")


def _is_there(files: ModelFiles, marks: tuple[str, str]) -> bool:
    template, vocabulary = template_text(files.template) or "", files.vocabulary
    return all(mark in template for mark in marks) or (
        vocabulary is not None and all(map(vocabulary.has, marks))
    )


def _opened_by(trial: TemplateTrial, start: str, end: str) -> Literal["template", "model"] | None:
    """By what stands where the answer begins; None: nothing to see, so the model opens it, or its
    template takes the mark off."""
    opening = (trial.text(USER) or "").rstrip()
    if opening.endswith(start):
        return "template"
    return "model" if opening.endswith(end) else None


def _yaml(start: str, end: str, opened: str | None) -> str:
    marks = "" if (start, end) == MARKS[0] else f'start: "{start}", end: "{end}", '
    return f"{{{marks}opened_by: {opened or 'model'}}}"
