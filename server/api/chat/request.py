"""Wire request -> GenerateRequest: the contract's defaults, limits and refusals, per alias."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Protocol

from msgspec.structs import replace
from pydantic_core import from_json

from engines.answers.form_bounds import MOST_SCHEMA_BYTES
from engines.base import GenerateRequest, Structure, Tool, Truncation
from engines.content import picture_parts
from engines.registry.spec import ModelSpec
from server.api.chat.messages import messages, missing
from server.api.chat.prompt_end import prompt_end, reasoning_at
from server.api.chat.sampling import sampling
from server.api.chat.thinking import thinking_of
from server.api.chat.unmet import refuse_unmet_choices
from server.api.chat.wire import (
    ChatRequest,
    ChoiceFields,
    JsonSchema,
    NamedTool,
    ResponseFormat,
    StructuredOutputs,
    ToolSpec,
)
from server.api.fields import CHAT, CHAT_REASONING, refuse
from server.errors import ApiError, brief

DEFAULT_MAX_TOKENS = 1000


def chat_request(wire: ChatRequest, spec: ModelSpec, request_id: str) -> GenerateRequest:
    """One chat body as a validated request. Raises ApiError 400 naming the field."""
    refuse_unmet_choices(wire, CHAT)
    if wire.reasoning is not None:
        refuse(wire.reasoning.model_extra, CHAT_REASONING, "reasoning.")
    thinking = thinking_of(wire, wire, spec, wire.reasoning_effort)
    tools = tools_of(wire.tools)
    choice = effective_choice(_tool_choice(wire), spec)
    if not spec.call_parser:
        tools = ()
    end, read = prompt_end(wire, wire.messages), messages(wire.messages, spec)
    if wire.truncate_prompt_tokens is not None:
        _refuse_cut_pictures(read)
    drawn = sampling(
        wire, spec, max_tokens=_max_tokens(wire, spec), n=wire.n or 1, logprobs=_logprobs(wire)
    )
    return GenerateRequest(
        request_id=request_id,
        sampling=replace(drawn, thinking_budget=thinking.budget),
        messages=read,
        tools=tools,
        tool_choice=choice,
        parallel_tool_calls=wire.parallel_tool_calls is not False,
        tool_parser=spec.call_parser,
        structure=structure(wire.response_format, wire.structured_outputs),
        reasoning=reasoning_at(end, spec.reasoning, read),
        chat_template_kwargs=thinking.template_kwargs,
        prompt_end=end,
        is_cut=wire.truncate_prompt_tokens is not None,
        stream=bool(wire.stream),
    )


def _refuse_cut_pictures(messages: Sequence[dict[str, Any]]) -> None:
    """A prompt that is cut is tokens alone."""
    if any(picture_parts(messages)):
        field, expected = "truncate_prompt_tokens", "null, or messages without pictures"
        message = f"{field} cannot cut a prompt with pictures; right would be {expected}."
        raise ApiError.invalid(message, field, None, expected)


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


def tools_of(tools: Sequence[ToolSpec] | None) -> tuple[Tool, ...]:
    check_names([t.function.name for t in tools or ()])
    return tuple(function_tool(t.function.name, t.function) for t in tools or ())


def check_names(names: Sequence[str]) -> None:
    """Raises ApiError 400 for tools of one name: nobody could say which of them a call means."""
    counts = Counter(names)
    if len(counts) < len(names):
        [(name, _)] = counts.most_common(1)
        message = f"tools holds several tools of the name {brief(name)!r}."
        raise ApiError.invalid(message, "tools", name, "a name for each tool")


class FunctionForm(Protocol):
    """OpenAI's form of a function, nested in a chat's tool or flat in a response's."""

    @property
    def description(self) -> str | None: ...
    @property
    def parameters(self) -> dict[str, Any] | None: ...
    @property
    def strict(self) -> bool | None: ...


def function_tool(name: str, form: FunctionForm) -> Tool:
    """A function as engines read it; without parameters it takes none. Raises ApiError 400 where
    its arguments could be no object."""
    kind = (form.parameters or {}).get("type")
    if kind is not None and "object" not in (kind if isinstance(kind, list) else [kind]):
        message = f"The parameters of the tool {name!r} have the type {kind!r}."
        raise ApiError.invalid(message, "tools", kind, "the schema of an object")
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
    if isinstance(given, str) and len(given) > MOST_SCHEMA_BYTES:
        message = f"structured_outputs.json is {len(given)} characters of text."
        expected = f"at most {MOST_SCHEMA_BYTES} characters"
        raise ApiError.invalid(message, "structured_outputs.json", len(given), expected)
    if isinstance(given, str):
        try:
            schema = from_json(given, allow_inf_nan=False)
        except ValueError:
            schema = None
    if not isinstance(schema, dict):
        message = "structured_outputs.json is no JSON schema."
        raise ApiError.invalid(message, "structured_outputs.json", "a string", "a JSON schema")
    return schema
