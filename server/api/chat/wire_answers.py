"""What a chat answers, as its builders write it and /openapi.json shows it: OpenAI's own names.

A member that is not required is there where it says something. Of a stream mypy sees no more than
the deltas: its frames are bytes, which tests hold against these types.
"""

from typing import Annotated, Literal, NotRequired, TypeAlias

from pydantic import Field
from typing_extensions import TypedDict

ShownFinishReason: TypeAlias = Literal["stop", "length", "tool_calls", "content_filter"]


class PromptDetails(TypedDict):
    cached_tokens: Annotated[int, Field(description="Found in the engine's prefix cache")]


class CompletionDetails(TypedDict):
    reasoning_tokens: Annotated[int, Field(description="Part of completion_tokens")]


class Usage(TypedDict):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: NotRequired[PromptDetails]
    completion_tokens_details: NotRequired[CompletionDetails]


class TopLogprob(TypedDict):
    token: str
    logprob: float
    bytes: list[int]


class TokenLogprob(TopLogprob):
    top_logprobs: list[TopLogprob]


class Logprobs(TypedDict):
    content: list[TokenLogprob]
    refusal: None


class CalledFunction(TypedDict):
    name: str
    arguments: Annotated[str, Field(description="A JSON object, as text")]


class ToolCall(TypedDict):
    id: str
    type: Literal["function"]
    function: CalledFunction


class Message(TypedDict):
    role: Literal["assistant"]
    content: Annotated[str | None, Field(description="null beside tool calls alone")]
    reasoning_content: NotRequired[str]
    tool_calls: NotRequired[list[ToolCall]]


class Choice(TypedDict):
    index: int
    message: Message
    logprobs: NotRequired[Logprobs]
    finish_reason: ShownFinishReason


class OutputMetadata(TypedDict):
    reasoning: Annotated[str, Field(description="The inference trace")]


class ChatCompletion(TypedDict):
    """A whole answer."""

    id: Annotated[str, Field(examples=["chatcmpl-abc123"])]
    object: Literal["chat.completion"]
    created: Annotated[int, Field(description="Unix seconds")]
    model: Annotated[str, Field(description="The alias that was asked for")]
    choices: list[Choice]
    usage: Usage
    model_output_metadata: NotRequired[
        Annotated[OutputMetadata, Field(description="Where the model reasoned")]
    ]


class FunctionPiece(TypedDict):
    name: NotRequired[str]
    arguments: str


class ToolCallPiece(TypedDict):
    index: int
    id: NotRequired[str]
    type: NotRequired[Literal["function"]]
    function: FunctionPiece


class MessagePiece(TypedDict):
    role: NotRequired[Literal["assistant"]]
    content: NotRequired[str]
    reasoning_content: NotRequired[str]
    tool_calls: NotRequired[list[ToolCallPiece]]


class ChoicePiece(TypedDict):
    index: int
    delta: MessagePiece
    logprobs: NotRequired[Logprobs]
    finish_reason: ShownFinishReason | None


class ChatCompletionChunk(TypedDict):
    """One event of a streamed answer: `data: {…}` and an empty line; `data: [DONE]` ends it."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    choices: Annotated[
        list[ChoicePiece], Field(description="Empty in the usage chunk, and there alone")
    ]
    usage: NotRequired[
        Annotated[
            Usage | None,
            Field(description="With stream_options.include_usage; null but at the end"),
        ]
    ]
    model_output_metadata: NotRequired[OutputMetadata]
