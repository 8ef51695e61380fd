"""What /v1/responses answers, as its builders write it and /openapi.json shows it.

A member that is not required is there where it says something.
"""

from typing import Annotated, Any, Literal, NotRequired, TypeAlias

from pydantic import Field
from typing_extensions import TypedDict

from server.api.chat.wire_answers import CompletionDetails, TokenLogprob
from server.api.responses.tools import CallKind
from server.memory.response_rows import ResponseState

ItemStatus: TypeAlias = Literal["in_progress", "completed", "incomplete"]


class InputDetails(TypedDict):
    cached_tokens: int
    cache_write_tokens: int


class ResponseUsage(TypedDict):
    input_tokens: int
    input_tokens_details: InputDetails
    output_tokens: int
    output_tokens_details: CompletionDetails
    total_tokens: int


class ResponseText(TypedDict):
    type: Literal["output_text", "reasoning_text", "summary_text"]
    text: str
    annotations: NotRequired[list[Any]]
    logprobs: NotRequired[list[TokenLogprob]]


class ResponseItem(TypedDict):
    """A message, a reasoning, or a call of a tool."""

    id: str
    type: Literal["message", "reasoning"] | CallKind
    status: ItemStatus
    role: NotRequired[Literal["assistant"]]
    content: NotRequired[list[ResponseText]]
    summary: NotRequired[list[ResponseText]]
    call_id: NotRequired[str | None]
    name: NotRequired[str | None]
    arguments: NotRequired[
        Annotated[str | dict[str, Any], Field(description="A tool_search_call's is an object")]
    ]
    input: NotRequired[str]
    namespace: NotRequired[str]
    execution: NotRequired[Literal["client"]]


class ResponseError(TypedDict):
    code: Literal["server_error", "rate_limit_exceeded"]
    message: str


class IncompleteDetails(TypedDict):
    reason: Literal["max_output_tokens"]


class ResponseReasoning(TypedDict):
    effort: str | None
    summary: str | None


class ResponseTextConfig(TypedDict):
    format: dict[str, Any]
    verbosity: str


class ConversationName(TypedDict):
    id: str


class Response(TypedDict):
    """A response; what the request asked for is in it as it was understood."""

    id: Annotated[str, Field(examples=["resp_abc123"])]
    object: Literal["response"]
    created_at: int
    status: ResponseState
    completed_at: int | None
    background: bool
    error: ResponseError | None
    incomplete_details: IncompleteDetails | None
    instructions: str | None
    max_output_tokens: int | None
    max_tool_calls: int | None
    model: str
    output: list[ResponseItem]
    parallel_tool_calls: bool
    previous_response_id: str | None
    prompt_cache_key: str | None
    reasoning: ResponseReasoning
    safety_identifier: str | None
    service_tier: Literal["default"]
    store: bool
    temperature: float
    text: ResponseTextConfig
    tool_choice: str | dict[str, Any]
    tools: list[dict[str, Any]]
    top_logprobs: int
    top_p: float
    truncation: Literal["disabled"]
    usage: ResponseUsage | None
    user: str | None
    conversation: NotRequired[ConversationName]
    metadata: dict[str, Any]


class EventMembers(TypedDict, total=False):
    """What an event has beside its type and number."""

    response: Response
    item: ResponseItem
    part: ResponseText
    item_id: str
    output_index: int
    content_index: int
    summary_index: int
    delta: str
    text: str
    logprobs: list[TokenLogprob]
    arguments: str
    name: str | None
    input: str
    code: str
    message: str
    param: str | None


class ResponseEvent(EventMembers):
    """One event of a streamed response: `event: <type>`, `data: {…}` and an empty line."""

    type: Annotated[str, Field(examples=["response.output_text.delta"])]
    sequence_number: int


class DeletedResponse(TypedDict):
    id: str
    object: Literal["response"]
    deleted: Literal[True]


class ItemList(TypedDict):
    """Items of a response's input, or of a conversation."""

    object: Literal["list"]
    data: list[dict[str, Any]]
    first_id: str | None
    last_id: str | None
    has_more: bool
