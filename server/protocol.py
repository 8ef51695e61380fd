"""Wire types of chat requests: validated in one pass, straight from bytes, with readable errors."""

import re
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from server.errors import ApiError

T = TypeVar("T")

Temperature = Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)]
Probability = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Penalty = Annotated[float, Field(ge=-2, le=2, allow_inf_nan=False)]
Bias = Annotated[float, Field(ge=-100, le=100, allow_inf_nan=False)]
Tokens = Annotated[int, Field(ge=1, le=2**31 - 1)]
Seed = Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]
StopString = Annotated[str, Field(min_length=1)]
StopList = Annotated[list[StopString], Field(max_length=16)]


class Wire(BaseModel):
    """No coercion ("0.7" is no number); unknown members are kept, counted, and have no effect."""

    model_config = ConfigDict(strict=True, extra="allow", frozen=True)


class FunctionCall(Wire):
    name: str
    arguments: str = ""


class ToolCall(Wire):
    id: str
    type: Literal["function"] = "function"
    function: FunctionCall


class ContentPart(Wire):
    """`{"type": "text", "text": …}`; other types are refused by name, not by shape."""

    type: str
    text: str | None = None
    refusal: str | None = None


class ChatMessage(Wire):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[ContentPart] | None = None
    name: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    reasoning_content: str | None = None


class FunctionSpec(Wire):
    name: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[a-zA-Z0-9_.-]+$")]
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class ToolSpec(Wire):
    type: Literal["function"]
    function: FunctionSpec


class NamedFunction(Wire):
    name: str


class NamedTool(Wire):
    type: Literal["function"]
    function: NamedFunction


class StreamOptions(Wire):
    include_usage: bool | None = None


class JsonSchema(Wire):
    name: str | None = None
    description: str | None = None
    schema_: Annotated[dict[str, Any] | None, Field(alias="schema")] = None
    strict: bool | None = None


class ResponseFormat(Wire):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class StructuredOutputs(Wire):
    """vLLM's own request fields: exactly one of them."""

    json_: Annotated[dict[str, Any] | str | None, Field(alias="json")] = None
    regex: str | None = None
    choice: list[str] | None = None
    grammar: str | None = None
    json_object: bool | None = None


class SamplingFields(Wire):
    """What chat and legacy completions share. Every optional field takes null for "not given"."""

    model: Annotated[str, Field(min_length=1, description="Model alias, e.g. 'mixtral-8x7b'")]
    stream: Annotated[bool | None, Field(description="Answer as server-sent events")] = False
    stream_options: StreamOptions | None = None
    temperature: Annotated[
        Temperature | None, Field(description="0 always takes the likeliest token")
    ] = 0.7
    max_tokens: Annotated[
        Tokens | None, Field(description="Most completion tokens; 1000 if not given")
    ] = None
    top_p: Probability | None = 1.0
    stop: StopString | StopList | None = None
    presence_penalty: Penalty | None = 0
    frequency_penalty: Penalty | None = 0
    seed: Seed | None = None
    n: Annotated[int, Field(ge=1, le=16)] | None = 1
    logit_bias: dict[Annotated[str, Field(pattern=r"^\d{1,9}$")], Bias] | None = None
    user: str | None = None
    region: Annotated[str | None, Field(description="Only 'oslo', or a site's own regions")] = None
    agent_id: Annotated[str | None, Field(description="Stored with the usage record")] = None
    min_p: Probability | None = None
    top_k: Annotated[int, Field(ge=-1, le=2**31 - 1)] | None = None
    repetition_penalty: Annotated[float, Field(gt=0, le=2, allow_inf_nan=False)] | None = None
    min_tokens: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    ignore_eos: bool | None = None
    structured_outputs: StructuredOutputs | None = None


class ChatRequest(SamplingFields):
    """The body of the three chat endpoints."""

    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    max_completion_tokens: Tokens | None = None
    tools: list[ToolSpec] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    response_format: ResponseFormat | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = (
        None
    )
    chat_template_kwargs: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None
    store: bool | None = None
    service_tier: str | None = None


CHAT: TypeAdapter[ChatRequest] = TypeAdapter(ChatRequest)

_EXPECTED = {
    "missing": "a value",
    "string_type": "a string",
    "bool_type": "true or false",
    "int_type": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "finite_number": "a finite number",
    "list_type": "an array",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
    "greater_than_equal": "at least {ge}",
    "greater_than": "more than {gt}",
    "less_than_equal": "at most {le}",
    "literal_error": "one of {expected}",
    "too_short": "at least {min_length} item(s)",
    "too_long": "at most {max_length} items",
    "string_too_short": "at least {min_length} character(s)",
    "string_too_long": "at most {max_length} characters",
    "string_pattern_mismatch": "a string matching {pattern}",
}
_RANGES = {
    "temperature": "a number from 0 to 2",
    "top_p": "a number from 0 to 1",
    "min_p": "a number from 0 to 1",
    "presence_penalty": "a number from -2 to 2",
    "frequency_penalty": "a number from -2 to 2",
    "repetition_penalty": "a number above 0, at most 2",
    "max_tokens": "an integer of at least 1",
    "max_completion_tokens": "an integer of at least 1",
    "n": "an integer from 1 to 16",
    "top_logprobs": "an integer from 0 to 20",
    "stop": "a string, or an array of at most 16 strings, none empty",
    "logit_bias": "an object of token ids with numbers from -100 to 100",
    "role": "one of 'system', 'developer', 'user', 'assistant', 'tool'",
    "content": "a string or an array of content parts",
    "tool_choice": "'none', 'auto', 'required' or a tool named by type and function.name",
}


def decode(adapter: TypeAdapter[T], body: bytes) -> T:
    """The body as its wire type. Raises ApiError 400 that names the first wrong field."""
    try:
        return adapter.validate_json(body)
    except ValidationError as e:
        raise _readable(e) from None


def _readable(e: ValidationError) -> ApiError:
    first = min(e.errors(include_url=False), key=lambda x: len(x["loc"]) == 0)
    if first["type"] in ("json_invalid", "json_type") or not first["loc"]:
        reason = first.get("ctx", {}).get("error", "it is not a JSON object")
        return ApiError.invalid(f"The body is not valid JSON: {reason}.", expected="a JSON object")
    field = _path(first["loc"])
    expected = _expectation(first)
    if first["type"] == "missing":
        return ApiError.invalid(f"Missing required field: {field}.", field, None, expected)
    provided = _short(first["input"])
    message = f"Invalid value for {field}: {provided!r}; expected {expected}."
    return ApiError.invalid(message, field, provided, expected)


def _path(loc: tuple[int | str, ...]) -> str:
    """('messages', 0, 'content', 'str') -> 'messages[0].content': union branches are left out."""
    out = ""
    for part in loc:
        if isinstance(part, int):
            out += f"[{part}]"
        elif re.fullmatch(r"[a-z0-9_]+", part) and part not in ("str", "constrained_str"):
            out += f".{part}" if out else part
    return out


def _expectation(error: Any) -> str:
    names = [p for p in error["loc"] if isinstance(p, str)]
    for name in reversed(names):
        if name in _RANGES:
            return _RANGES[name]
        if re.fullmatch(r"[a-z0-9_]+", name) and name not in ("str", "constrained_str"):
            break
    form = _EXPECTED.get(error["type"])
    return form.format(**error.get("ctx", {})) if form else str(error["msg"])


def _short(value: Any) -> Any:
    """The offending value as it goes back: scalars as they are, the rest as a word."""
    if isinstance(value, str):
        return value if len(value) <= 80 else value[:77] + "…"
    if value is None or isinstance(value, bool | int | float):
        if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
            return str(value)
        if isinstance(value, int) and abs(value) > 2**63:
            return "a huge integer"
        return value
    return "an object" if isinstance(value, dict) else "an array"
