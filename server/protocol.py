"""Wire types of chat requests, and what other endpoints share with them."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

Temperature = Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)]
Probability = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Penalty = Annotated[float, Field(ge=-2, le=2, allow_inf_nan=False)]
Bias = Annotated[float, Field(ge=-100, le=100, allow_inf_nan=False)]
Tokens = Annotated[int, Field(ge=1, le=2**31 - 1)]
Seed = Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]
StopString = Annotated[str, Field(min_length=1)]
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
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
    reasoning_content: Annotated[
        str | None, Field(description="An earlier answer's trace, given back to the model")
    ] = None
    reasoning: str | None = None


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
    choice: Annotated[list[str], Field(min_length=1)] | None = None
    grammar: str | None = None
    json_object: bool | None = None


class Asked(Wire):
    """What every request names. Every optional field takes null for "not given"."""

    model: Annotated[str, Field(min_length=1, description="Model alias, e.g. 'mixtral-8x7b'")]
    user: str | None = None
    region: Annotated[str | None, Field(description="Only 'oslo', or a site's own regions")] = None
    agent_id: Annotated[str | None, Field(description="Stored with the usage record")] = None


class SamplingFields(Asked):
    """How an answer is drawn, on every endpoint that generates."""

    stream: Annotated[bool | None, Field(description="Answer as server-sent events")] = False
    temperature: Annotated[
        Temperature | None, Field(description="0 always takes the likeliest token")
    ] = 0.7
    top_p: Probability | None = 1.0
    stop: Annotated[
        StopString | StopList | None, Field(description="Ends the answer before any of these")
    ] = None
    presence_penalty: Penalty | None = 0
    frequency_penalty: Penalty | None = 0
    seed: Annotated[Seed | None, Field(description="Same seed, same answer on the same engine")] = (
        None
    )
    logit_bias: Annotated[
        dict[Annotated[str, Field(pattern=r"^[0-9]{1,9}$")], Bias] | None,
        Field(description="Token id -> what is added to its logit"),
    ] = None
    min_p: Probability | None = None
    top_k: Annotated[int, Field(ge=-1, le=2**31 - 1)] | None = None
    repetition_penalty: Annotated[float, Field(gt=0, le=2, allow_inf_nan=False)] | None = None
    min_tokens: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    ignore_eos: Annotated[
        bool | None, Field(description="Go on to max_tokens; load generators want it")
    ] = None
    structured_outputs: StructuredOutputs | None = None

    @property
    def has_max_tokens(self) -> bool:
        """Whether the caller named a bound for the answer."""
        raise NotImplementedError


class ChoiceFields(SamplingFields):
    """What chat and legacy completions share beyond drawing."""

    stream_options: StreamOptions | None = None
    max_tokens: Annotated[Tokens | None, Field(description="Most completion tokens")] = None
    n: Annotated[int, Field(ge=1, le=16)] | None = 1

    @property
    def wants_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)

    @property
    def has_max_tokens(self) -> bool:
        return self.max_tokens is not None


class ChatRequest(ChoiceFields):
    """The body of the three chat endpoints."""

    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    max_tokens: Annotated[
        Tokens | None, Field(description="Most completion tokens; 1000 if not given")
    ] = None
    max_completion_tokens: Annotated[
        Tokens | None,
        Field(description="The newer name of max_tokens; counts where both are given"),
    ] = None
    tools: list[ToolSpec] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    response_format: ResponseFormat | None = None
    reasoning_effort: Effort | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None
    store: bool | None = None
    service_tier: str | None = None

    @property
    def has_max_tokens(self) -> bool:
        return self.max_tokens is not None or self.max_completion_tokens is not None


CHAT: TypeAdapter[ChatRequest] = TypeAdapter(ChatRequest)
