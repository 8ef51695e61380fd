"""/v1/responses: OpenAI's newer form, over the same way as chat."""

import time
from typing import Any

from msgspec.structs import replace

from engines.base import GenerateRequest, Sampling, Structure
from engines.registry.spec import ModelSpec
from server.api.chat.messages import missing, with_system_prompt
from server.api.chat.request import (
    bound,
    effective_choice,
    json_object,
    json_schema,
    named_choice,
    structured_outputs,
)
from server.api.chat.sampling import sampling
from server.api.chat.thinking import Thinking, thinking_of
from server.api.chat.unmet import refuse_unmet
from server.api.fields import REASONING, RESPONSES, STREAM_OPTIONS_OF_RESPONSES, refuse
from server.api.responses.events import ResponseStream
from server.api.responses.input import conversation
from server.api.responses.output import Output, ResponseAnswer
from server.api.responses.tools import OfferedTools, offered
from server.api.responses.wire import FlatChoice, FlatTool, ResponsesRequest
from server.api.responses.wire_answers import Response
from server.errors import ApiError
from server.ids import new_id
from server.pictures.given import check_pictures
from server.requests.plan import AnswerKeeper, Plan, Stream, Whole

_KEPT = {
    "previous_response_id": "the earlier items in input",
    "conversation": "the earlier items in input",
    "background": "stream: true",
    "store": "store: false",
}
"""What needs a memory -> what to send without one."""
_WIRE_NAMES = {
    "messages": "input",
    "prompt": "input",
    "max_tokens": "max_output_tokens",
    "response_format": "text.format",
}


def build_response(wire: ResponsesRequest, spec: ModelSpec, request_id: str) -> Plan:
    """One response. Raises ApiError 400."""
    refuse_unmet(wire, RESPONSES)
    if wire.reasoning is not None:
        refuse(wire.reasoning.model_extra, REASONING, "reasoning.")
    _refuse_what_is_not_there(wire)
    tools = offered(wire)
    thinking = thinking_of(wire, wire, spec)
    request = _request(wire, spec, tools, thinking, request_id)
    output = Output(wire.wants_summary, tools.offers, thinking.is_shown)
    members = _members(wire, spec, request, tools)
    shape, kept = _shape(wire, members, output)
    return Plan(
        requests=(request,),
        shape=shape,
        has_max_tokens=wire.has_max_tokens,
        wire_names=_WIRE_NAMES,
        kept=kept,
    )


def _shape(
    wire: ResponsesRequest, members: Response, output: Output
) -> tuple[Stream | Whole, AnswerKeeper | None]:
    if members["store"] and wire.recalled and wire.recalled.keep:
        answer = wire.recalled.keep(ResponseStream(members, output, time.time))
        return answer, answer
    if wire.stream:
        return ResponseStream(members, output, time.time), None
    return ResponseAnswer(members, output, time.time), None


def _request(
    wire: ResponsesRequest,
    spec: ModelSpec,
    offered: OfferedTools,
    thinking: Thinking,
    request_id: str,
) -> GenerateRequest:
    choice = effective_choice(_tool_choice(wire, offered), spec)
    tools = offered.tools if spec.call_parser else ()
    messages = _conversation(wire)
    check_pictures(messages, spec)
    return GenerateRequest(
        request_id=request_id,
        sampling=replace(_sampling(wire, spec), thinking_budget=thinking.budget),
        messages=with_system_prompt(messages, spec),
        tools=tools,
        tool_choice=choice,
        parallel_tool_calls=wire.parallel_tool_calls is not False,
        tool_parser=spec.call_parser,
        structure=_structure(wire),
        reasoning=spec.reasoning,
        chat_template_kwargs=thinking.template_kwargs,
        stream=bool(wire.stream or wire.background),
    )


def _conversation(wire: ResponsesRequest) -> list[dict[str, Any]]:
    earlier = wire.recalled.items if wire.recalled else ()
    return conversation(wire.given, wire.instructions, earlier)


def _sampling(wire: ResponsesRequest, spec: ModelSpec) -> Sampling:
    return sampling(
        wire,
        spec,
        max_tokens=bound(spec, "max_output_tokens", wire.max_output_tokens, spec.output_tokens),
        logprobs=(wire.top_logprobs or 0) if wire.wants_logprobs else None,
    )


def _refuse_what_is_not_there(wire: ResponsesRequest) -> None:
    for name, instead in _KEPT.items() if wire.recalled is None else ():
        if getattr(wire, name):
            message = f"{name} is not supported: nothing is kept here; send {instead}."
            raise ApiError.invalid(message, name, None, instead)
    if wire.prompt is not None:
        message = "prompt is not supported: no prompts are kept here; send instructions and input."
        raise ApiError.invalid(message, "prompt", None, "instructions and input")
    refuse(wire.stream_options, STREAM_OPTIONS_OF_RESPONSES, "stream_options.")


def _tool_choice(wire: ResponsesRequest, offered: OfferedTools) -> str:
    choice, names = wire.tool_choice, list(offered.offers)
    if not isinstance(choice, FlatChoice):
        return named_choice(choice, None, names)
    if choice.type not in ("function", "custom"):
        expected = "none, auto, required, or a function or custom tool by type and name"
        message = f"tool_choice is of type {choice.type!r}; right would be {expected}."
        raise ApiError.invalid(message, "tool_choice.type", choice.type, expected)
    if choice.name is None:
        raise missing("tool_choice.name", "the name of a tool in tools")
    return named_choice(None, offered.known_as(choice.name), names)


def _structure(wire: ResponsesRequest) -> Structure | None:
    form = wire.text.format if wire.text else None
    chosen: Structure | None = None
    if form is not None and form.type == "json_object":
        chosen = json_object(form.schema_)
    elif form is not None and form.type == "json_schema":
        chosen = json_schema(form, "text.format.schema")
    return structured_outputs(chosen, wire.structured_outputs, "text.format")


def _members(
    wire: ResponsesRequest, spec: ModelSpec, request: GenerateRequest, offered: OfferedTools
) -> Response:
    """The response as it stands at its beginning: what was asked for, as it is understood."""
    form = wire.text.format if wire.text else None
    effort, summary = None, None
    if wire.reasoning is not None:
        effort, summary = wire.reasoning.effort, wire.reasoning.summary
    choice = wire.tool_choice
    members: Response = {
        "id": f"resp_{new_id(32)}",
        "object": "response",
        "created_at": int(time.time()),
        "status": "in_progress",
        "completed_at": None,
        "background": bool(wire.background),
        "error": None,
        "incomplete_details": None,
        "instructions": wire.instructions,
        "max_output_tokens": wire.max_output_tokens,
        "max_tool_calls": wire.max_tool_calls,
        "model": wire.model,
        "output": [],
        "parallel_tool_calls": request.parallel_tool_calls,
        "previous_response_id": wire.previous_response_id,
        "prompt_cache_key": wire.prompt_cache_key,
        "reasoning": {"effort": effort, "summary": summary},
        "safety_identifier": wire.safety_identifier,
        "service_tier": "default",
        "store": bool(wire.recalled and wire.recalled.keep),
        "temperature": request.sampling.temperature
        if wire.temperature is None
        else wire.temperature,
        "text": {
            "format": _told(form) if form else {"type": "text"},
            "verbosity": wire.verbosity_asked[1] or "medium",
        },
        "tool_choice": _told(choice) if isinstance(choice, FlatChoice) else choice or "auto",
        "tools": [_told(t) for t in offered.told],
        "top_logprobs": wire.top_logprobs or 0,
        "top_p": request.sampling.top_p if wire.top_p is None else wire.top_p,
        "truncation": "disabled",
        "usage": None,
        "user": wire.user,
        "metadata": _metadata(wire, offered),
    }
    if wire.conversation_id:
        members["conversation"] = {"id": wire.conversation_id}
    return members


def _metadata(wire: ResponsesRequest, offered: OfferedTools) -> dict[str, Any]:
    """The request's, and which of its tools nobody would run."""
    left_out = {"tools_left_out": ", ".join(offered.left_out)} if offered.left_out else {}
    return {**(wire.metadata or {}), **left_out}


def _told(part: Any) -> dict[str, Any]:
    """A part of the request as it came."""
    told: dict[str, Any] = part.model_dump(by_alias=True, exclude_none=True)
    if isinstance(part, FlatTool) and part.type == "function":
        told = {"description": None, "parameters": None, "strict": None} | told
    return told
