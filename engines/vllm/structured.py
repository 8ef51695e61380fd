"""The form an answer must have -> vLLM's StructuredOutputsParams."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from engines.answers.forced_calls import forced_schema, is_forced
from engines.answers.form_bounds import check_form, wire_field
from engines.answers.guided_calls import CLOSE, OPEN, TRIGGER, enforceable, guided_schema
from engines.base import GenerateRequest, Reasoning, Structure
from engines.vllm.json_grammar import JsonGrammars
from engines.vllm.vocabulary import Vocabulary

_Format: TypeAlias = dict[str, Any]
"""A part of xgrammar's structural tag."""


@dataclass(frozen=True, slots=True)
class GuidedCalls:
    """Free text, in which a call has a form once it is begun."""

    grammar: str
    is_parallel: bool


def form_of(
    request: GenerateRequest, grammars: JsonGrammars, is_guided: bool = False
) -> Structure | GuidedCalls | None:
    """The form that its answer must have, a schema as the grammar that enforces it, or the one
    that its calls have. Blocks while that is made. Raises InvalidRequest."""
    if is_guided:
        return enforceable(request, lambda asked: _guided(asked, grammars))
    if is_forced(request):
        schema = forced_schema(request)
        check_form(Structure(kind="json_schema", value=schema), "tools")
        return _grammar(grammars(schema, "tools"))
    structure = request.structure
    if structure is not None:
        check_form(structure, wire_field(structure))
    if structure is None or structure.kind != "json_schema":
        return structure
    return _grammar(grammars(structure.value, "response_format"))


def _guided(request: GenerateRequest, grammars: JsonGrammars) -> GuidedCalls:
    schema = guided_schema(request)
    check_form(Structure(kind="json_schema", value=schema), "tools")
    return GuidedCalls(grammars(schema, "tools"), request.parallel_tool_calls)


def form_field(request: GenerateRequest) -> str:
    """The field that brought it."""
    structure = request.structure
    return "tools" if structure is None or is_forced(request) else wire_field(structure)


def is_schema(request: GenerateRequest) -> bool:
    """Whether its grammar is one that we made."""
    structure = request.structure
    return is_forced(request) or (structure is not None and structure.kind == "json_schema")


def structured_outputs(
    structure: Structure | GuidedCalls, reasoning: Reasoning | None, vocabulary: Vocabulary
) -> Any:
    """`reasoning`: what comes before it; None: nothing is thought, or vLLM was started with its
    own reasoning_parser and lets the grammar begin after the thinking."""
    from vllm.sampling_params import StructuredOutputsParams

    if reasoning is None and isinstance(structure, Structure):
        return StructuredOutputsParams(**_constraint(structure))
    marks = (None, None) if reasoning is None else vocabulary.marks(reasoning)
    return StructuredOutputsParams(structural_tag=structural_tag(structure, reasoning, marks))


def structural_tag(
    structure: Structure | GuidedCalls,
    reasoning: Reasoning | None,
    marks: tuple[int | None, int | None],
) -> str:
    """xgrammar's, as JSON. `marks`: the thinking's tokens, where they are single ones."""
    form = _format(structure)
    if reasoning is not None:
        form = _after(_thinking(reasoning, *marks), reasoning.opened_by == "template", form)
    return json.dumps({"type": "structural_tag", "format": form})


def _grammar(text: str) -> Structure:
    return Structure(kind="grammar", value=text)


def _constraint(structure: Structure) -> dict[str, Any]:
    match structure.kind:
        case "json_object":
            return {"json_object": True}
        case "choice":
            return {"choice": list(structure.value)}
        case kind:
            return {kind: structure.value}


def _thinking(reasoning: Reasoning, start_id: int | None, end_id: int | None) -> list[_Format]:
    """The start mark; then anything with the end mark. As the splitter has it: marks that are
    single tokens count as those tokens, and the same letters in other tokens are a thought."""
    if start_id is None or end_id is None:
        anything: _Format = {"type": "any_text"}
        thought = {"type": "tag", "begin": "", "content": anything, "end": reasoning.end}
        return [{"type": "const_string", "value": reasoning.start}, thought]
    anything = {"type": "any_tokens", "exclude_tokens": [end_id]}
    return [_token(start_id), {"type": "sequence", "elements": [anything, _token(end_id)]}]


def _after(thinking: Sequence[_Format], is_open: bool, form: _Format) -> _Format:
    """The form after the thinking. A model that opens the thinking itself may also answer at
    once."""
    newlines = {"type": "regex", "pattern": "\\n{0,2}"}
    start, thought = thinking
    if is_open:
        return {"type": "sequence", "elements": [thought, newlines, form]}
    return _either({"type": "sequence", "elements": [start, thought, newlines, form]}, form)


def _token(token_id: int) -> _Format:
    return {"type": "token", "token": token_id}


def _either(*formats: dict[str, Any]) -> dict[str, Any]:
    return {"type": "or", "elements": list(formats)}


def _calls(guided: GuidedCalls) -> _Format:
    content = {"type": "grammar", "grammar": guided.grammar}
    tag = {"type": "tag", "begin": OPEN, "content": content, "end": CLOSE}
    is_single = {"stop_after_first": not guided.is_parallel}
    return {"type": "triggered_tags", "triggers": [TRIGGER], "tags": [tag], **is_single}


def _format(structure: Structure | GuidedCalls) -> dict[str, Any]:
    if isinstance(structure, GuidedCalls):
        return _calls(structure)
    match structure.kind:
        case "regex":
            return {"type": "regex", "pattern": structure.value}
        case "choice":
            return _either(*({"type": "const_string", "value": v} for v in structure.value))
        case "grammar":
            return {"type": "grammar", "grammar": structure.value}
    return _ANY_OBJECT


_ANY_OBJECT: _Format = {
    "type": "json_schema",
    "json_schema": {"type": "object"},
    "max_whitespace_cnt": 1,
}
"""vLLM's disable_any_whitespace does not reach a structural tag: without a bound a small model
writes spaces and newlines until its tokens are used up. 1 is the least that is allowed."""
