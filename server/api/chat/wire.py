"""Wire types of chat requests, and what other endpoints share with them."""

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from engines.registry.spec import Effort
from server.api.chat.wire_parts import Parts
from server.api.chat.wire_thinking import BudgetFields, ReasoningOptions, ThinkingFields
from server.api.chat.wire_values import (
    MAX_ITEMS,
    MAX_TOOLS,
    AnyObject,
    LogitBias,
    Metadata,
    Penalty,
    Probability,
    Seed,
    StopList,
    StopString,
    Stored,
    Temperature,
    Tokens,
    Verbosity,
    Wire,
)


class FunctionCall(Wire):
    name: str
    arguments: str = ""


class ToolCall(Wire):
    id: str
    type: Literal["function"] = "function"
    function: FunctionCall


ToolCalls = Annotated[list[ToolCall], Field(max_length=MAX_TOOLS, fail_fast=True)]


class ChatMessage(Wire):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | Parts | None = None
    name: str | None = None
    tool_calls: ToolCalls | None = None
    tool_call_id: str | None = None
    reasoning_content: Annotated[
        str | None, Field(description="An earlier answer's trace, given back to the model")
    ] = None
    reasoning: str | None = None
    prefix: Annotated[
        bool | None, Field(description="Of the last message: as continue_final_message")
    ] = None
    refusal: Annotated[
        str | None, Field(description="An earlier answer's refusal: read as its text")
    ] = None


class FunctionSpec(Wire):
    name: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[a-zA-Z0-9_.-]+$")]
    description: str | None = None
    parameters: AnyObject | None = None
    strict: bool | None = None


class ToolSpec(Wire):
    type: Literal["function"]
    function: FunctionSpec


Messages = Annotated[list[ChatMessage], Field(min_length=1, max_length=MAX_ITEMS, fail_fast=True)]
Tools = Annotated[list[ToolSpec], Field(max_length=MAX_TOOLS, fail_fast=True)]


class NamedFunction(Wire):
    name: str


class NamedTool(Wire):
    type: Literal["function"]
    function: NamedFunction


class StreamOptions(Wire):
    include_usage: bool | None = None
    continuous_usage_stats: Annotated[
        bool | None, Field(description="vLLM's: every chunk has the usage so far")
    ] = None


class JsonSchema(Wire):
    name: str | None = None
    description: str | None = None
    schema_: Annotated[AnyObject | None, Field(alias="schema")] = None
    strict: bool | None = None


class ResponseFormat(Wire):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None
    schema_: Annotated[
        AnyObject | None, Field(alias="schema", description="Of a json_object, as in llama.cpp")
    ] = None


Choices = Annotated[list[str], Field(min_length=1, max_length=MAX_ITEMS, fail_fast=True)]


class StructuredOutputs(Wire):
    """vLLM's own request fields: exactly one of them."""

    json_: Annotated[AnyObject | str | None, Field(alias="json")] = None
    regex: str | None = None
    choice: Choices | None = None
    grammar: str | None = None
    json_object: bool | None = None


class Asked(Wire):
    """What every request names. Every optional field takes null for "not given"."""

    model: Annotated[str, Field(min_length=1, description="Model alias, e.g. 'mixtral-8x7b'")]
    user: Annotated[Stored | None, Field(description="Stored with the usage record")] = None
    region: Annotated[
        Stored | None, Field(description="Datacenter region: 'oslo', or one of the site's own")
    ] = None
    agent_id: Annotated[
        Stored | None, Field(description="Agent identifier: stored for logging only")
    ] = None


class SamplingFields(BudgetFields, Asked):
    """How an answer is drawn, on every endpoint that generates."""

    stream: Annotated[bool | None, Field(description="Answer as server-sent events")] = False
    temperature: Annotated[
        Temperature | None, Field(description="0 always takes the likeliest token")
    ] = 0.7
    top_p: Annotated[
        Probability | None, Field(description="Only the likeliest tokens of this mass together")
    ] = 1.0
    stop: Annotated[
        StopString | StopList | None, Field(description="Ends the answer before any of these")
    ] = None
    include_stop_str_in_output: Annotated[
        bool | None, Field(description="The stop string is part of the answer")
    ] = None
    presence_penalty: Annotated[
        Penalty | None, Field(description="Against tokens that were there")
    ] = 0
    frequency_penalty: Annotated[
        Penalty | None, Field(description="Against tokens by how often they were there")
    ] = 0
    seed: Annotated[Seed | None, Field(description="Same seed, same answer on the same engine")] = (
        None
    )
    logit_bias: Annotated[
        LogitBias | None,
        Field(description="Token id -> what is added to its logit"),
    ] = None
    min_p: Annotated[
        Probability | None, Field(description="No token below this part of the likeliest one's")
    ] = None
    top_k: Annotated[
        Annotated[int, Field(ge=-1, le=2**31 - 1)] | None,
        Field(description="Only so many likeliest tokens; 0 and -1: all"),
    ] = None
    repetition_penalty: Annotated[
        Annotated[float, Field(ge=0.01, le=2, allow_inf_nan=False)] | None,
        Field(description="Above 1: against tokens that were there"),
    ] = None
    min_tokens: Annotated[
        Annotated[int, Field(ge=0, le=2**31 - 1)] | None,
        Field(description="No end before so many tokens"),
    ] = None
    ignore_eos: Annotated[
        bool | None, Field(description="Go on to max_tokens; load generators want it")
    ] = None
    structured_outputs: Annotated[
        StructuredOutputs | None, Field(description="vLLM's name for a form the answer must have")
    ] = None

    @property
    def has_max_tokens(self) -> bool:
        """Whether the caller named a bound for the answer."""
        raise NotImplementedError


class ChoiceFields(SamplingFields):
    """What chat and legacy completions share beyond drawing."""

    stream_options: Annotated[
        StreamOptions | None, Field(description="include_usage: a last chunk with the usage")
    ] = None
    max_tokens: Annotated[Tokens | None, Field(description="Most completion tokens")] = None
    truncate_prompt_tokens: Annotated[
        Annotated[int, Field(ge=-1, le=2**31 - 1)] | None,
        Field(description="A longer prompt is cut to so many tokens; -1: to what fits"),
    ] = None
    truncation_side: Annotated[
        Literal["left", "right"] | None, Field(description="Where it is cut; left if not given")
    ] = None
    n: Annotated[
        Annotated[int, Field(ge=1, le=16)] | None, Field(description="How many answers")
    ] = 1

    @property
    def wants_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)

    @property
    def wants_running_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.continuous_usage_stats)

    @property
    def has_max_tokens(self) -> bool:
        return self.max_tokens is not None


class ChatRequest(ThinkingFields, ChoiceFields):
    """The body of the three chat endpoints."""

    messages: Annotated[Messages, Field(description="The conversation so far")]
    max_tokens: Annotated[
        Tokens | None,
        Field(
            description="Most completion tokens; at most what the model's limit allows",
            json_schema_extra={"default": 1000},
        ),
    ] = None
    max_completion_tokens: Annotated[
        Tokens | None,
        Field(description="The newer name of max_tokens; counts where both are given"),
    ] = None
    tools: Annotated[
        Tools | None,
        Field(description="Functions the model may call; without effect where it cannot"),
    ] = None
    tool_choice: Annotated[
        Literal["none", "auto", "required"] | NamedTool | None,
        Field(description="Which tool is called: none, auto, required, or a named function"),
    ] = None
    parallel_tool_calls: Annotated[bool | None, Field(description="false: one call at most")] = None
    logprobs: Annotated[bool | None, Field(description="With each token its log probability")] = (
        None
    )
    top_logprobs: Annotated[
        Annotated[int, Field(ge=0, le=20)] | None,
        Field(description="So many likeliest tokens at each place; needs logprobs"),
    ] = None
    response_format: Annotated[
        ResponseFormat | None, Field(description="The form the answer must have")
    ] = None
    reasoning_effort: Annotated[
        Effort | None, Field(description="Where the model's registry entry has it")
    ] = None
    reasoning: Annotated[
        ReasoningOptions | None, Field(description="OpenRouter's form of the thinking fields")
    ] = None
    verbosity: Annotated[
        Verbosity | None, Field(description="medium, or what the model's template knows")
    ] = None
    add_generation_prompt: Annotated[
        bool | None, Field(description="false: the prompt ends behind the last message")
    ] = None
    continue_final_message: Annotated[
        bool | None, Field(description="The answer goes on with the last, an assistant message")
    ] = None
    metadata: Annotated[Metadata | None, Field(description="Without effect")] = None
    store: Annotated[bool | None, Field(description="Without effect: nothing is stored")] = None
    service_tier: Annotated[Stored | None, Field(description="Without effect")] = None

    @property
    def has_max_tokens(self) -> bool:
        return self.max_tokens is not None or self.max_completion_tokens is not None

    @property
    def verbosity_asked(self) -> tuple[str, str | None]:
        return "verbosity", self.verbosity


CHAT: TypeAdapter[ChatRequest] = TypeAdapter(ChatRequest)
