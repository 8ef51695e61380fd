"""What /v1/messages answers, as types: whole, and the events of a stream."""

from typing import Annotated, Any, Literal, NotRequired, TypeAlias

from pydantic import Field, with_config
from typing_extensions import TypedDict

StopReason: TypeAlias = Literal["end_turn", "max_tokens", "stop_sequence", "tool_use"]


class ThinkingTokens(TypedDict):
    thinking_tokens: Annotated[int, Field(description="Part of output_tokens")]


class MessageUsage(TypedDict):
    input_tokens: Annotated[int, Field(description="Of the prompt, but for cached ones")]
    cache_creation_input_tokens: int
    cache_read_input_tokens: Annotated[int, Field(description="Found in the engine's cache")]
    output_tokens: Annotated[int, Field(description="Those of the trace included")]
    output_tokens_details: NotRequired[ThinkingTokens]


class SaidBlock(TypedDict):
    """text; thinking with its signature; or tool_use."""

    type: Literal["text", "thinking", "tool_use"]
    text: NotRequired[str]
    thinking: NotRequired[str]
    signature: NotRequired[str]
    id: NotRequired[str]
    name: NotRequired[str]
    input: NotRequired[dict[str, Any]]


class MessageAnswer(TypedDict):
    id: str
    type: Literal["message"]
    role: Literal["assistant"]
    model: str
    content: list[SaidBlock]
    stop_reason: StopReason | None
    stop_sequence: Annotated[str | None, Field(description="The one that ended it")]
    usage: MessageUsage


@with_config(extra="allow")
class MessageEvent(TypedDict):
    """One event of a stream, by its type."""

    type: Literal[
        "message_start",
        "content_block_start",
        "ping",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
        "error",
    ]


class CountedTokens(TypedDict):
    input_tokens: int


class MessagesErrorMembers(TypedDict):
    type: str
    message: str
    details: NotRequired[
        Annotated[dict[str, Any], Field(description="With an error_code that clients act on")]
    ]


class MessagesError(TypedDict):
    """The one body of every error of this API."""

    type: Literal["error"]
    error: MessagesErrorMembers
    request_id: str


class ModelInfo(TypedDict):
    """A model in Anthropic's form."""

    type: Literal["model"]
    id: str
    display_name: str
    created_at: str
    lifecycle: Literal["active"]
    max_input_tokens: Annotated[int, Field(description="Of prompt and answer together")]
    max_tokens: Annotated[int, Field(description="The most that max_tokens may be")]


class ModelInfos(TypedDict):
    data: list[ModelInfo]
    has_more: bool
    first_id: str | None
    last_id: str | None
