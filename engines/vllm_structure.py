"""The form an answer must have -> vLLM's StructuredOutputsParams."""

import json
from typing import Any

from engines.base import GenerateRequest, Reasoning, Structure
from engines.forced_calls import forced_schema, is_forced


def structured_outputs(request: GenerateRequest, begins_at_once: bool) -> Any:
    """None: no form is asked for. `begins_at_once`: nothing is thought before it, or vLLM was
    started with its own reasoning_parser and lets the grammar begin after the thinking."""
    from vllm.sampling_params import StructuredOutputsParams

    structure = _wanted(request)
    if structure is None:
        return None
    if request.reasoning is None or begins_at_once:
        return StructuredOutputsParams(**_constraint(structure))
    tag = {"type": "structural_tag", "format": _after_thinking(structure, request.reasoning)}
    return StructuredOutputsParams(structural_tag=json.dumps(tag))


def may_hold_control_characters(structure: Any) -> bool:
    """xgrammar lets a JSON string whose length is bounded hold raw control characters: no parser
    reads that."""
    said = str(structure.json or structure.structural_tag or "")
    return "maxLength" in said or "minLength" in said


def _wanted(request: GenerateRequest) -> Structure | None:
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


def _after_thinking(structure: Structure, reasoning: Reasoning) -> dict[str, Any]:
    """Anything up to the end mark, then the form. A model that opens the thinking itself may
    also answer at once."""
    begin = "" if reasoning.opened_by == "template" else reasoning.start
    form = _format(structure)
    thinking = {"type": "tag", "begin": begin, "content": {"type": "any_text"}}
    newlines = {"type": "regex", "pattern": "\\n{0,2}"}
    thought = {
        "type": "sequence",
        "elements": [thinking | {"end": reasoning.end}, newlines, form],
    }
    return thought if reasoning.opened_by == "template" else _either(thought, form)


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
