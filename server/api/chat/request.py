"""Wire request -> GenerateRequest: the contract's defaults, limits and refusals, per alias."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from engines.base import GenerateRequest, Sampling, Structure, Tool
from engines.registry.spec import ModelSpec
from server.api.chat.messages import messages, missing
from server.api.chat.prompt_end import prompt_end, reasoning_at
from server.api.chat.template_kwargs import switches, template_kwargs
from server.api.chat.wire import (
    ChatRequest,
    ChoiceFields,
    JsonSchema,
    NamedTool,
    ResponseFormat,
    SamplingFields,
    StructuredOutputs,
    ToolSpec,
)
from server.api.fields import CHAT, STREAM_OPTIONS, STRUCTURED_OUTPUTS, Refused, refuse
from server.errors import ApiError
from server.requests.plan import Truncation

DEFAULT_MAX_TOKENS = 1000
_TEMPERATURE = 0.7


def chat_request(wire: ChatRequest, spec: ModelSpec, request_id: str) -> GenerateRequest:
    """One chat body as a validated request. Raises ApiError 400 naming the field."""
    refuse_unmet_choices(wire, CHAT)
    tools = tools_of(wire.tools)
    choice = effective_choice(_tool_choice(wire), spec)
    if not spec.call_parser:
        tools = ()
    end, read = prompt_end(wire, wire.messages), messages(wire.messages, spec)
    return GenerateRequest(
        request_id=request_id,
        sampling=sampling(
            wire, spec, max_tokens=_max_tokens(wire, spec), n=wire.n or 1, logprobs=_logprobs(wire)
        ),
        messages=read,
        tools=tools,
        tool_choice=choice,
        parallel_tool_calls=wire.parallel_tool_calls is not False,
        tool_parser=spec.call_parser if tools else None,
        structure=structure(wire.response_format, wire.structured_outputs),
        reasoning=reasoning_at(end, spec.reasoning, read),
        chat_template_kwargs=template_kwargs(spec, wire.reasoning_effort, switches(wire)),
        prompt_end=end,
        stream=bool(wire.stream),
    )


def sampling(
    wire: SamplingFields,
    spec: ModelSpec,
    *,
    max_tokens: int,
    n: int = 1,
    logprobs: int | None = None,
) -> Sampling:
    """Sampling parameters with the alias' and the contract's defaults filled in."""
    d = spec.defaults
    temperature = _first(wire, "temperature", d, _TEMPERATURE)
    top_p = _first(wire, "top_p", d, 1.0)
    top_k = max(0, _first(wire, "top_k", d, 0))
    if top_p == 0 or (temperature == 0 and n > 1):
        # The likeliest token alone, said so that engines which refuse a top_p of 0, or several
        # greedy choices, take it.
        top_p, top_k, temperature = 1.0, 1, temperature or 1.0
    min_tokens = wire.min_tokens or 0
    if min_tokens > max_tokens:
        message = f"min_tokens ({min_tokens}) is more than max_tokens ({max_tokens})."
        raise ApiError.invalid(message, "min_tokens", min_tokens, f"at most {max_tokens}")
    return Sampling(
        max_tokens=max_tokens,
        min_tokens=min_tokens,
        temperature=temperature,
        top_p=top_p,
        top_k=top_k,
        min_p=_first(wire, "min_p", d, 0.0),
        presence_penalty=_first(wire, "presence_penalty", d, 0.0),
        frequency_penalty=_first(wire, "frequency_penalty", d, 0.0),
        repetition_penalty=_first(wire, "repetition_penalty", d, 1.0),
        seed=None if wire.seed is None else wire.seed % 2**63,  # engines read -1 as "any"
        n=n,
        stop=(wire.stop,) if isinstance(wire.stop, str) else tuple(wire.stop or ()),
        includes_stop_string=bool(wire.include_stop_str_in_output),
        ignore_eos=bool(wire.ignore_eos),
        logprobs=logprobs,
        logit_bias={int(k): v for k, v in (wire.logit_bias or {}).items()},
    )


def truncation(wire: ChoiceFields) -> Truncation | None:
    if wire.truncate_prompt_tokens is None:
        return None
    return Truncation(wire.truncate_prompt_tokens, wire.truncation_side != "right")


def bound(spec: ModelSpec, field: str, asked: int | None, default: int) -> int:
    """The most tokens of one choice. Raises ApiError 400 above the alias' limit."""
    if asked is None:
        return min(default, spec.output_tokens)
    if asked > spec.output_tokens:
        limit = f"at most {spec.output_tokens}"
        message = f"{field} is {asked}; {spec.alias} generates {limit} tokens."
        raise ApiError.invalid(message, field, asked, limit)
    return asked


def structure(
    response_format: ResponseFormat | None, outputs: StructuredOutputs | None
) -> Structure | None:
    """The form asked for by response_format or by vLLM's structured_outputs, not by both."""
    return structured_outputs(_response_format(response_format), outputs, "response_format")


def structured_outputs(
    chosen: Structure | None, outputs: StructuredOutputs | None, field: str
) -> Structure | None:
    """`chosen` (by `field`), or what vLLM's own request field says."""
    if outputs is None:
        return chosen
    if chosen is not None:
        message = f"{field} and structured_outputs exclude each other."
        raise ApiError.invalid(message, "structured_outputs", "both", "one of the two")
    return _structured_outputs(outputs)


def json_object(schema: dict[str, Any] | None) -> Structure:
    """Any object, or one of llama.cpp's schema beside the type."""
    if schema is None:
        return Structure(kind="json_object")
    return Structure(kind="json_schema", value=schema)


def json_schema(form: JsonSchema | None, field: str) -> Structure:
    """A schema that is there, as a structure."""
    if form is None or form.schema_ is None:
        raise missing(field, "a JSON schema")
    return Structure(kind="json_schema", value=form.schema_)


def refuse_unmet(wire: SamplingFields, known: Mapping[str, Refused]) -> None:
    """400 for fields that we know, cannot honour, and that would change the output."""
    refuse(wire.model_extra, known)
    if wire.structured_outputs is not None:
        refuse(wire.structured_outputs.model_extra, STRUCTURED_OUTPUTS, "structured_outputs.")


def refuse_unmet_choices(wire: ChoiceFields, known: Mapping[str, Refused]) -> None:
    """As `refuse_unmet`, for the endpoints whose streams have options."""
    refuse_unmet(wire, known)
    if wire.stream_options is not None:
        refuse(wire.stream_options.model_extra, STREAM_OPTIONS, "stream_options.")


def tools_of(tools: Sequence[ToolSpec] | None) -> tuple[Tool, ...]:
    return tuple(function_tool(t.function.name, t.function) for t in tools or ())


class FunctionForm(Protocol):
    """OpenAI's form of a function, nested in a chat's tool or flat in a response's."""

    @property
    def description(self) -> str | None: ...
    @property
    def parameters(self) -> dict[str, Any] | None: ...
    @property
    def strict(self) -> bool | None: ...


def function_tool(name: str, form: FunctionForm) -> Tool:
    """A function as engines read it; without parameters it takes none."""
    return Tool(
        name=name,
        description=form.description,
        parameters=form.parameters or {"type": "object", "properties": {}},
        strict=bool(form.strict),
    )


def named_choice(choice: str | None, name: str | None, tools: Sequence[str]) -> str:
    """tool_choice as engines read it: a word, or "function:" and one of the tools' names."""
    if name is None:
        if choice == "required" and not tools:
            message = "tool_choice is 'required', but tools is empty."
            raise ApiError.invalid(message, "tool_choice", "required", "a tool in tools")
        return choice or "auto"
    if name not in tools:
        message = f"tool_choice names {name!r}, which is not in tools."
        expected = "one of " + ", ".join(tools) if tools else "a tool in tools"
        raise ApiError.invalid(message, "tool_choice", name, expected)
    return f"function:{name}"


def effective_choice(choice: str, spec: ModelSpec) -> str:
    """Raises ApiError 400 where a call must be made and the model makes none."""
    if spec.call_parser:
        return choice
    if choice in ("auto", "none"):
        return "auto"
    message = f"{spec.alias} cannot call tools, so tool_choice cannot ask for a call."
    raise ApiError.invalid(message, "tool_choice", choice, "auto or none")


def _first(wire: SamplingFields, name: str, defaults: Mapping[str, Any], neutral: Any) -> Any:
    if name in wire.model_fields_set and (value := getattr(wire, name)) is not None:
        return value
    return defaults.get(name, neutral)


def _max_tokens(wire: ChatRequest, spec: ModelSpec) -> int:
    default = int(spec.defaults.get("max_tokens", DEFAULT_MAX_TOKENS))
    if wire.max_completion_tokens is not None:
        return bound(spec, "max_completion_tokens", wire.max_completion_tokens, default)
    return bound(spec, "max_tokens", wire.max_tokens, default)


def _logprobs(wire: ChatRequest) -> int | None:
    if wire.top_logprobs is not None and not wire.logprobs:
        message = "top_logprobs needs logprobs to be true."
        raise ApiError.invalid(message, "top_logprobs", wire.top_logprobs, '"logprobs": true')
    return (wire.top_logprobs or 0) if wire.logprobs else None


def _tool_choice(wire: ChatRequest) -> str:
    choice, names = wire.tool_choice, [t.function.name for t in wire.tools or ()]
    if isinstance(choice, NamedTool):
        chosen = named_choice(None, choice.function.name, names)
    else:
        chosen = named_choice(choice, None, names)
    return chosen if names else "auto"


def _response_format(form: ResponseFormat | None) -> Structure | None:
    if form is None:
        return None
    _refuse_other_schema(form)
    if form.type == "text":
        return None
    if form.type == "json_object":
        return json_object(form.schema_)
    return json_schema(form.json_schema, "response_format.json_schema.schema")


def _refuse_other_schema(form: ResponseFormat) -> None:
    """A schema in a place where this type has none would be dropped."""
    stray = "schema" if form.schema_ is not None and form.type != "json_object" else None
    if form.json_schema is not None and form.type != "json_schema":
        stray = "json_schema"
    if stray is not None:
        message = f"response_format has a {stray}, which {form.type!r} does not take."
        expected = '"type": "json_schema" with json_schema.schema'
        raise ApiError.invalid(message, f"response_format.{stray}", None, expected)


def _structured_outputs(outputs: StructuredOutputs) -> Structure | None:
    given: list[Structure] = []
    if outputs.json_ is not None:
        given.append(Structure(kind="json_schema", value=_schema(outputs.json_)))
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


def _schema(given: dict[str, Any] | str) -> dict[str, Any]:
    """vLLM takes a schema as an object, and as its text."""
    schema: Any = given
    if isinstance(given, str):
        try:
            schema = json.loads(given)
        except (ValueError, RecursionError):
            schema = None
    if not isinstance(schema, dict):
        message = "structured_outputs.json is no JSON schema."
        raise ApiError.invalid(message, "structured_outputs.json", "a string", "a JSON schema")
    return schema
