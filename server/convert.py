"""Wire request -> GenerateRequest: the contract's defaults, limits and refusals, per alias."""

from collections.abc import Mapping, Sequence
from typing import Any

from engines.base import GenerateRequest, Sampling, Structure, Tool
from engines.spec import ModelSpec
from server.errors import ApiError
from server.protocol import (
    ChatMessage,
    ChatRequest,
    NamedTool,
    ResponseFormat,
    SamplingFields,
    StructuredOutputs,
    ToolSpec,
)

DEFAULT_MAX_TOKENS = 1000
_TEMPERATURE = 0.7
_REFUSED = {
    "functions": "tools",
    "function_call": "tool_choice",
    "audio": "text messages",
    "web_search_options": "tools",
    "best_of": "n",
    "prompt_logprobs": "logprobs",
    "echo": "the prompt you have already",
}


def chat_request(wire: ChatRequest, spec: ModelSpec, request_id: str) -> GenerateRequest:
    """One chat body as a validated request. Raises ApiError 400 naming the field."""
    refuse_unknown_meaning(wire)
    tools = _tools(wire.tools) if spec.tool_parser else ()
    return GenerateRequest(
        request_id=request_id,
        sampling=sampling(wire, spec, wire.max_completion_tokens, _logprobs(wire)),
        messages=_messages(wire.messages, spec),
        tools=tools,
        tool_choice=_tool_choice(wire, tools),
        parallel_tool_calls=wire.parallel_tool_calls is not False,
        tool_parser=spec.tool_parser if tools else None,
        structure=structure(wire.response_format, wire.structured_outputs),
        reasoning=spec.reasoning,
        chat_template_kwargs=_template_kwargs(wire, spec),
        stream=bool(wire.stream),
    )


def explicit_max_tokens(wire: SamplingFields) -> bool:
    """Whether the caller named a bound: then it is refused, not shrunk, where it does not fit."""
    newer = getattr(wire, "max_completion_tokens", None)
    return wire.max_tokens is not None or newer is not None


def sampling(
    wire: SamplingFields, spec: ModelSpec, newer_max_tokens: int | None, logprobs: int | None
) -> Sampling:
    """Sampling parameters with the alias' and the contract's defaults filled in."""
    d = spec.defaults
    max_tokens = _max_tokens(wire, spec, newer_max_tokens)
    top_p = _first(wire, "top_p", d, 1.0)
    min_tokens = wire.min_tokens or 0
    if min_tokens > max_tokens:
        message = f"min_tokens ({min_tokens}) is more than max_tokens ({max_tokens})."
        raise ApiError.invalid(message, "min_tokens", min_tokens, f"at most {max_tokens}")
    return Sampling(
        max_tokens=max_tokens,
        min_tokens=min_tokens,
        temperature=_first(wire, "temperature", d, _TEMPERATURE),
        top_p=top_p or 1.0,
        top_k=max(0, _first(wire, "top_k", d, 0)) if top_p else 1,
        min_p=_first(wire, "min_p", d, 0.0),
        presence_penalty=_first(wire, "presence_penalty", d, 0.0),
        frequency_penalty=_first(wire, "frequency_penalty", d, 0.0),
        repetition_penalty=_first(wire, "repetition_penalty", d, 1.0),
        seed=wire.seed,
        n=wire.n or 1,
        stop=(wire.stop,) if isinstance(wire.stop, str) else tuple(wire.stop or ()),
        ignore_eos=bool(wire.ignore_eos),
        logprobs=logprobs,
        logit_bias={int(k): v for k, v in (wire.logit_bias or {}).items()},
    )


def structure(
    response_format: ResponseFormat | None, outputs: StructuredOutputs | None
) -> Structure | None:
    """The form asked for by response_format or by vLLM's structured_outputs, not by both."""
    chosen = _response_format(response_format)
    if outputs is None:
        return chosen
    if chosen is not None:
        message = "response_format and structured_outputs exclude each other."
        raise ApiError.invalid(message, "structured_outputs", "both", "one of the two")
    return _structured_outputs(outputs)


def refuse_unknown_meaning(wire: SamplingFields) -> None:
    """400 for fields we know, cannot honour, and that would change the output."""
    for name, value in (wire.model_extra or {}).items():
        if name in _REFUSED and value not in (None, False, [], {}, 1):
            message = f"{name} is not supported here; use {_REFUSED[name]}."
            raise ApiError.invalid(message, name, None, _REFUSED[name])
        if name == "modalities" and value not in (None, ["text"]):
            raise ApiError.invalid("This model writes text only.", name, str(value), '["text"]')


def _first(wire: SamplingFields, name: str, defaults: Mapping[str, Any], neutral: Any) -> Any:
    if name in wire.model_fields_set and (value := getattr(wire, name)) is not None:
        return value
    return defaults.get(name, neutral)


def _max_tokens(wire: SamplingFields, spec: ModelSpec, newer: int | None) -> int:
    name = "max_tokens" if newer is None else "max_completion_tokens"
    asked = wire.max_tokens if newer is None else newer
    if asked is None:
        return min(int(spec.defaults.get("max_tokens", DEFAULT_MAX_TOKENS)), spec.output_tokens)
    if asked > spec.output_tokens:
        limit = f"at most {spec.output_tokens}"
        message = f"{name} is {asked}; {spec.alias} generates {limit} tokens."
        raise ApiError.invalid(message, name, asked, limit)
    return asked


def _logprobs(wire: ChatRequest) -> int | None:
    if wire.top_logprobs is not None and not wire.logprobs:
        message = "top_logprobs needs logprobs to be true."
        raise ApiError.invalid(message, "top_logprobs", wire.top_logprobs, '"logprobs": true')
    return (wire.top_logprobs or 0) if wire.logprobs else None


def _messages(messages: Sequence[ChatMessage], spec: ModelSpec) -> list[dict[str, Any]]:
    out = [_message(i, m) for i, m in enumerate(messages)]
    if spec.system_prompt and all(m["role"] != "system" for m in out):
        out.insert(0, {"role": "system", "content": spec.system_prompt})
    return out


def _message(index: int, m: ChatMessage) -> dict[str, Any]:
    role = "system" if m.role == "developer" else m.role
    out: dict[str, Any] = {"role": role, "content": _content(index, m)}
    if m.name:
        out["name"] = m.name
    if m.tool_calls:
        out["tool_calls"] = [c.model_dump(include={"id", "type", "function"}) for c in m.tool_calls]
    if m.tool_call_id:
        out["tool_call_id"] = m.tool_call_id
    if m.role == "tool" and not m.tool_call_id:
        field = f"messages[{index}].tool_call_id"
        raise ApiError.invalid(f"Missing required field: {field}.", field, None, "a tool call's id")
    return out


def _content(index: int, m: ChatMessage) -> str:
    if isinstance(m.content, str):
        return m.content
    if m.content is None:
        if m.role == "assistant":
            return ""
        field = f"messages[{index}].content"
        raise ApiError.invalid(f"Missing required field: {field}.", field, None, "a string")
    parts = []
    for k, part in enumerate(m.content):
        if part.type not in ("text", "refusal"):
            field = f"messages[{index}].content[{k}].type"
            message = f"This model reads text only; {field} is {part.type!r}."
            raise ApiError.invalid(message, field, part.type, "text")
        parts.append(part.text if part.type == "text" else part.refusal)
        if parts[-1] is None:
            field = f"messages[{index}].content[{k}].text"
            raise ApiError.invalid(f"Missing required field: {field}.", field, None, "a string")
    return "".join(p for p in parts if p)


def _tools(tools: Sequence[ToolSpec] | None) -> tuple[Tool, ...]:
    return tuple(
        Tool(
            name=t.function.name,
            description=t.function.description,
            parameters=t.function.parameters or {"type": "object", "properties": {}},
            strict=bool(t.function.strict),
        )
        for t in tools or ()
    )


def _tool_choice(wire: ChatRequest, tools: tuple[Tool, ...]) -> str:
    choice = wire.tool_choice
    if not isinstance(choice, NamedTool):
        if choice == "required" and not wire.tools:
            message = "tool_choice is 'required', but tools is empty."
            raise ApiError.invalid(message, "tool_choice", "required", "a tool in tools")
        return choice or "auto"
    names = [t.function.name for t in wire.tools or ()]
    if choice.function.name not in names:
        message = f"tool_choice names {choice.function.name!r}, which is not in tools."
        expected = "one of " + ", ".join(names) if names else "a tool in tools"
        raise ApiError.invalid(message, "tool_choice", choice.function.name, expected)
    return f"function:{choice.function.name}" if tools else "auto"


def _template_kwargs(wire: ChatRequest, spec: ModelSpec) -> dict[str, Any]:
    kwargs = dict(spec.chat_template_kwargs)
    if effort := wire.reasoning_effort:
        if effort in spec.reasoning_efforts:
            kwargs.update(spec.reasoning_efforts[effort])
        elif effort != "none" or spec.reasoning:
            known = ", ".join(spec.reasoning_efforts) or "none: leave it out"
            message = f"{spec.alias} has no reasoning_effort {effort!r}."
            raise ApiError.invalid(message, "reasoning_effort", effort, known)
    return kwargs | (wire.chat_template_kwargs or {})


def _response_format(form: ResponseFormat | None) -> Structure | None:
    if form is None or form.type == "text":
        return None
    if form.type == "json_object":
        return Structure(kind="json_object")
    schema = form.json_schema.schema_ if form.json_schema else None
    if schema is None:
        field = "response_format.json_schema.schema"
        raise ApiError.invalid(f"Missing required field: {field}.", field, None, "a JSON schema")
    return Structure(kind="json_schema", value=schema)


def _structured_outputs(outputs: StructuredOutputs) -> Structure | None:
    given: list[Structure] = []
    if outputs.json_ is not None:
        given.append(Structure(kind="json_schema", value=outputs.json_))
    if outputs.regex is not None:
        given.append(Structure(kind="regex", value=outputs.regex))
    if outputs.choice is not None:
        given.append(Structure(kind="choice", value=tuple(outputs.choice)))
    if outputs.grammar is not None:
        given.append(Structure(kind="grammar", value=outputs.grammar))
    if outputs.json_object:
        given.append(Structure(kind="json_object"))
    if len(given) > 1:
        kinds = ", ".join(g.kind for g in given)
        message = f"structured_outputs takes one form; it has {kinds}."
        raise ApiError.invalid(message, "structured_outputs", kinds, "one form")
    return given[0] if given else None
