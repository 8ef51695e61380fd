"""What answers look like: the response models of /openapi.json. No answer is written with them."""

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, RootModel

FinishReason: TypeAlias = Literal["stop", "length", "tool_calls", "content_filter"]


class Told(BaseModel):
    """Members that stand here, and no others. Optional ones are there when they say something."""

    model_config = ConfigDict(extra="forbid")


class ErrorDetails(BaseModel):
    """INVALID_PARAMETER: field, provided, expected. CONTEXT_LENGTH_EXCEEDED: the three numbers."""

    field: str | None = None
    provided: Any = None
    expected: str | None = None
    prompt_tokens: int | None = None
    max_tokens: int | None = None
    context_tokens: int | None = None


class ErrorMembers(Told):
    code: Annotated[str, Field(description="For programs", examples=["INVALID_PARAMETER"])]
    message: Annotated[str, Field(description="For people: what was wrong, what would be right")]
    type: Annotated[str, Field(description="OpenAI's error type")]
    param: Annotated[str | None, Field(description="The field that was wrong")]
    details: ErrorDetails | None = None


class Error(Told):
    """The one body of every error."""

    error: ErrorMembers
    detail: Annotated[str, Field(description="error.message again")]


class Model(Told):
    id: Annotated[str, Field(description="The alias that requests name", examples=["mixtral-8x7b"])]
    object: Literal["model"]
    owned_by: Literal["wayscloud"]
    created: int


class ModelList(Told):
    object: Literal["list"]
    data: list[Model]


class PromptDetails(Told):
    cached_tokens: Annotated[int, Field(description="Found in the engine's prefix cache")]


class CompletionDetails(Told):
    reasoning_tokens: Annotated[int, Field(description="Part of completion_tokens")]


class Usage(Told):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None


class TopLogprob(Told):
    token: str
    logprob: float
    bytes: list[int]


class TokenLogprob(TopLogprob):
    top_logprobs: list[TopLogprob]


class Logprobs(Told):
    content: list[TokenLogprob]
    refusal: None


class CalledFunction(Told):
    name: str
    arguments: Annotated[str, Field(description="A JSON object, as text")]


class ToolCall(Told):
    id: str
    type: Literal["function"]
    function: CalledFunction


class Message(Told):
    role: Literal["assistant"]
    content: Annotated[str | None, Field(description="null beside tool calls alone")]
    reasoning_content: str | None = None
    tool_calls: list[ToolCall] | None = None


class Choice(Told):
    index: int
    message: Message
    logprobs: Logprobs | None = None
    finish_reason: FinishReason


class OutputMetadata(Told):
    reasoning: Annotated[str, Field(description="The inference trace")]


class ChatCompletion(Told):
    """A whole answer."""

    id: Annotated[str, Field(examples=["chatcmpl-abc123"])]
    object: Literal["chat.completion"]
    created: Annotated[int, Field(description="Unix seconds")]
    model: Annotated[str, Field(description="The alias that was asked for")]
    choices: list[Choice]
    usage: Usage
    model_output_metadata: Annotated[
        OutputMetadata | None, Field(description="Where the model reasoned")
    ] = None


class FunctionPiece(Told):
    name: str | None = None
    arguments: str


class ToolCallPiece(Told):
    index: int
    id: str | None = None
    type: Literal["function"] | None = None
    function: FunctionPiece


class MessagePiece(Told):
    role: Literal["assistant"] | None = None
    content: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[ToolCallPiece] | None = None


class ChoicePiece(Told):
    index: int
    delta: MessagePiece
    logprobs: Logprobs | None = None
    finish_reason: FinishReason | None


class ChatCompletionChunk(Told):
    """One event of a streamed answer: `data: {…}` and an empty line; `data: [DONE]` ends it."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    choices: Annotated[
        list[ChoicePiece], Field(description="Empty in the usage chunk, and there alone")
    ]
    usage: Annotated[
        Usage | None, Field(description="With stream_options.include_usage; null but at the end")
    ] = None
    model_output_metadata: OutputMetadata | None = None


class LegacyLogprobs(Told):
    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
    text_offset: list[int]


class TextChoice(Told):
    text: str
    index: int
    logprobs: LegacyLogprobs | None
    finish_reason: FinishReason | None


class Completion(Told):
    """A whole completion, or a chunk of a streamed one."""

    id: Annotated[str, Field(examples=["cmpl-abc123"])]
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[TextChoice]
    usage: Usage | None = None


class EmbeddingVector(Told):
    object: Literal["embedding"]
    index: int
    embedding: Annotated[
        list[float] | str, Field(description="Numbers, or their base64 as 32-bit floats")
    ]


class EmbeddingUsage(Told):
    prompt_tokens: int
    total_tokens: int


class EmbeddingList(Told):
    object: Literal["list"]
    data: list[EmbeddingVector]
    model: str
    usage: EmbeddingUsage


class TokenCount(Told):
    model: str
    count: Annotated[int, Field(description="Tokens the prompt would have")]
    max_model_len: Annotated[int, Field(description="The model's context")]
    tokens: Annotated[list[int], Field(description="Their ids")]


class Welcome(RootModel[dict[str, str]]):
    """What runs here, and paths of this server."""


class Health(Told):
    status: Literal["ok"]


class EngineState(Told):
    engine: str
    aliases: list[str]
    state: Literal["cold", "fetching", "starting", "ready", "sleeping", "stopping", "failed"]
    for_s: float
    reason: str | None
    preload: bool
    requests: int
    waiting: int
    restarts: int


class Readiness(Told):
    status: Literal["ready", "not ready"]
    engines: list[EngineState]
    refusing: Annotated[dict[str, str], Field(description="Part -> why new work is refused")]
    notes: Annotated[
        dict[str, str], Field(description="Part -> what to look after though work goes on")
    ]
