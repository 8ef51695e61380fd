"""The form an answer must have -> vLLM's StructuredOutputsParams."""

import json
from collections.abc import Sequence
from typing import Any, TypeAlias

from engines.answers.forced_calls import forced_schema, is_forced
from engines.base import GenerateRequest, Reasoning, Structure
from engines.vllm.vocabulary import Vocabulary

_Format: TypeAlias = dict[str, Any]
"""A part of xgrammar's structural tag."""


def structured_outputs(
    request: GenerateRequest, begins_at_once: bool, vocabulary: Vocabulary
) -> Any:
    """None: no form is asked for. `begins_at_once`: nothing is thought before it, or vLLM was
    started with its own reasoning_parser and lets the grammar begin after the thinking."""
    from vllm.sampling_params import StructuredOutputsParams

    structure = _structure(request)
    if structure is None:
        return None
    if request.reasoning is None or begins_at_once:
        return StructuredOutputsParams(**_constraint(structure))
    thinking = _thinking(request.reasoning, *vocabulary.marks(request.reasoning))
    is_open = request.reasoning.opened_by == "template"
    tag = {"type": "structural_tag", "format": _after(thinking, is_open, _format(structure))}
    return StructuredOutputsParams(structural_tag=json.dumps(tag))


def may_hold_control_characters(structure: Any) -> bool:
    """xgrammar lets a JSON string whose length is bounded hold raw control characters: no parser
    reads that."""
    text = str(structure.json or structure.structural_tag or "")
    return "maxLength" in text or "minLength" in text


def _structure(request: GenerateRequest) -> Structure | None:
    if is_forced(request):
        return Structure(kind="json_schema", value=forced_schema(request))
    return request.structure


def _constraint(structure: Structure) -> dict[str, Any]:
    match structure.kind:
        case "json_object":
            return {"json_object": True}
        case "json_schema":
            return {"json": structure.value}
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


def _format(structure: Structure) -> dict[str, Any]:
    match structure.kind:
        case "json_object":
            return _json({"type": "object"})
        case "json_schema":
            return _json(structure.value)
        case "regex":
            return {"type": "regex", "pattern": structure.value}
        case "choice":
            return _either(*({"type": "const_string", "value": v} for v in structure.value))
        case "grammar":
            return {"type": "grammar", "grammar": structure.value}


def _json(schema: Any) -> dict[str, Any]:
    """vLLM's disable_any_whitespace does not reach a structural tag: without a bound a small model
    writes spaces and newlines until its tokens are used up. 1 is the least that is allowed."""
    return {"type": "json_schema", "json_schema": schema, "max_whitespace_cnt": 1}
