"""/v1/messages: a body of Anthropic's -> what to generate, and how it is said."""

from typing import Final

from msgspec.structs import replace

from engines.base import GenerateRequest, PromptEnd, Sampling, Structure, Tool
from engines.registry.spec import ModelSpec
from server.api.chat.messages import missing, with_system_prompt
from server.api.chat.prompt_end import reasoning_at
from server.api.chat.request import (
    bound,
    check_names,
    effective_choice,
    json_schema,
    named_choice,
    structured_outputs,
)
from server.api.chat.sampling import sampling
from server.api.chat.thinking import Thinking, thinking_of
from server.api.chat.unmet import refuse_unmet
from server.api.chat.wire_thinking import BudgetFields
from server.api.fields import refuse
from server.api.messages.blocks import Blocks
from server.api.messages.conversation import goes_on
from server.api.messages.errors import ERROR_CODE
from server.api.messages.events import PING, MessageStream, MessageWhole
from server.api.messages.fields import MESSAGES
from server.api.messages.wire import (
    CountRequest,
    MessagesRequest,
    MessagesTool,
    PromptFields,
)
from server.api.messages.wire_answers import MessageAnswer
from server.errors import ApiError
from server.ids import new_id
from server.pictures.given import check_pictures
from server.requests.plan import Plan, Stream, Whole

_NO_USAGE: Final = {
    "input_tokens": 0,
    "cache_creation_input_tokens": 0,
    "cache_read_input_tokens": 0,
    "output_tokens": 0,
}
_WIRE_NAMES: Final = {
    "prompt": "messages",
    "stop": "stop_sequences",
    "response_format": "output_config.format",
}


def build_message(wire: MessagesRequest, spec: ModelSpec, request_id: str) -> Plan:
    """One message. Raises ApiError 400."""
    refuse_unmet(wire, MESSAGES)
    _refuse_thread(wire)
    thinking = _thinking(wire, wire, spec)
    request = _request(wire, spec, thinking, request_id)
    blocks = Blocks(_shows_thinking(wire))
    message: MessageAnswer = {
        "id": f"msg_{new_id(24)}",
        "type": "message",
        "role": "assistant",
        "model": wire.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": dict(_NO_USAGE),  # type: ignore[typeddict-item]
    }
    shape: Stream | Whole = MessageWhole(message, blocks)
    if request.stream:
        shape = MessageStream(message, blocks, request_id)
    return Plan(
        requests=(request,),
        shape=shape,
        has_max_tokens=True,
        has_running_usage=request.stream,
        wire_names=_WIRE_NAMES,
        waiting=PING,
    )


def _refuse_thread(wire: MessagesRequest) -> None:
    """In the words by which the tool runners of Anthropic's clients send all of it instead."""
    if wire.thread is not None:
        message = "thread is not supported: nothing is stored here; send the whole conversation."
        details = {ERROR_CODE: "thread_unsupported_request", "unsupported": ["thread"]}
        raise ApiError(400, "INVALID_PARAMETER", message, param="thread", details=details)


def counted(wire: CountRequest, spec: ModelSpec, request_id: str) -> GenerateRequest:
    """The prompt whose tokens are counted. Raises ApiError 400."""
    refuse(wire.model_extra, MESSAGES)
    thinking = _thinking(wire, BudgetFields(), spec)
    request = _prompt(wire, spec, thinking, request_id)
    return replace(request, stream=False)


def _request(
    wire: MessagesRequest, spec: ModelSpec, thinking: Thinking, request_id: str
) -> GenerateRequest:
    most = bound(spec, "max_tokens", wire.max_tokens, spec.output_tokens)
    stop = _stop(wire)
    drawn = replace(
        sampling(wire, spec, max_tokens=most),
        thinking_budget=thinking.budget,
        stop=stop,
        tells_stop=bool(stop),
    )
    prompt = _prompt(wire, spec, thinking, request_id)
    return replace(prompt, sampling=drawn, structure=_structure(wire), stream=bool(wire.stream))


def _prompt(
    wire: PromptFields, spec: ModelSpec, thinking: Thinking, request_id: str
) -> GenerateRequest:
    tools = _tools(wire)
    choice = effective_choice(_tool_choice(wire, [tool.name for tool in tools]), spec)
    check_pictures(wire.read, spec)
    messages = with_system_prompt(wire.read, spec)
    end: PromptEnd = "inside_message" if goes_on(wire.messages) else "answer"
    return GenerateRequest(
        request_id=request_id,
        sampling=Sampling(max_tokens=1),
        messages=messages,
        tools=tools if spec.call_parser else (),
        tool_choice=choice,
        parallel_tool_calls=not (wire.tool_choice and wire.tool_choice.disable_parallel_tool_use),
        tool_parser=spec.call_parser,
        reasoning=reasoning_at(end, spec.reasoning, messages),
        chat_template_kwargs=thinking.template_kwargs,
        prompt_end=end,
    )


def _thinking(wire: PromptFields, budgets: BudgetFields, spec: ModelSpec) -> Thinking:
    """An effort counts where the model has it: agents send one to every model."""
    effort = wire.effort if wire.effort in spec.efforts else None
    return thinking_of(wire, budgets, spec, effort)


def _shows_thinking(wire: MessagesRequest) -> bool:
    """Clients that did not ask for a thought take the first block for the answer."""
    if wire.include_reasoning is not None:
        return wire.include_reasoning
    if wire.thinking is None:
        return bool(wire.enable_thinking)
    return wire.thinking.type != "disabled" and wire.thinking.display != "omitted"


def _stop(wire: MessagesRequest) -> tuple[str, ...]:
    own = (wire.stop,) if isinstance(wire.stop, str) else tuple(wire.stop or ())
    if own and wire.stop_sequences and list(own) != wire.stop_sequences:
        message = "stop and stop_sequences differ."
        raise ApiError.invalid(message, "stop", None, "one of the two")
    return tuple(wire.stop_sequences or own)


def _structure(wire: MessagesRequest) -> Structure | None:
    form = wire.output_config.format if wire.output_config else None
    field = "output_config.format" if form else "output_format"
    form = form or wire.output_format
    chosen = None if form is None else json_schema(form, f"{field}.schema")
    return structured_outputs(chosen, wire.structured_outputs, field)


def _tools(wire: PromptFields) -> tuple[Tool, ...]:
    check_names([tool.name for tool in wire.tools or ()])
    return tuple(_tool(f"tools[{i}]", tool) for i, tool in enumerate(wire.tools or ()))


def _tool(field: str, tool: MessagesTool) -> Tool:
    if tool.type not in (None, "custom"):
        expected = "a tool with an input_schema, which the client runs"
        message = f"{field} is of type {tool.type!r}: no such tool runs here; right is {expected}."
        raise ApiError.invalid(message, f"{field}.type", tool.type, expected)
    if tool.input_schema is None:
        raise missing(f"{field}.input_schema", "the JSON schema of an object")
    kind = tool.input_schema.get("type", "object")
    if kind != "object":
        message = f"{field}.input_schema has the type {str(kind)[:40]!r}."
        expected = "the schema of an object"
        raise ApiError.invalid(message, f"{field}.input_schema.type", str(kind), expected)
    return Tool(
        name=tool.name,
        description=tool.description,
        parameters=tool.input_schema,
        strict=bool(tool.strict),
    )


def _tool_choice(wire: PromptFields, names: list[str]) -> str:
    choice = wire.tool_choice
    if choice is None:
        return "auto"
    if choice.type == "tool" and choice.name is None:
        raise missing("tool_choice.name", "the name of a tool in tools")
    if choice.type == "tool":
        return named_choice(None, choice.name, names)
    if choice.type == "any" and not names:
        message = "tool_choice is 'any', but tools is empty."
        raise ApiError.invalid(message, "tool_choice.type", "any", "a tool in tools")
    return {"any": "required"}.get(choice.type, choice.type) if names else "auto"
