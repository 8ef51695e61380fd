"""What /v1/responses answers: its models in /openapi.json; none is written with them."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from server.api.openapi.answers import CompletionDetails, TokenLogprob, Told


class InputDetails(Told):
    cached_tokens: int
    cache_write_tokens: int


class ResponseUsage(Told):
    input_tokens: int
    input_tokens_details: InputDetails
    output_tokens: int
    output_tokens_details: CompletionDetails
    total_tokens: int


class ResponseText(BaseModel):
    type: Literal["output_text", "reasoning_text", "summary_text"]
    text: str
    annotations: list[Any] | None = None
    logprobs: list[TokenLogprob] | None = None


class ResponseItem(BaseModel):
    """A message, a reasoning, a function_call or a custom_tool_call."""

    id: str
    type: Literal["message", "reasoning", "function_call", "custom_tool_call"]
    status: Literal["in_progress", "completed", "incomplete"]
    role: Literal["assistant"] | None = None
    content: list[ResponseText] | None = None
    summary: list[ResponseText] | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None
    input: str | None = None
    namespace: str | None = None


class ResponseError(Told):
    code: Literal["server_error", "rate_limit_exceeded"]
    message: str


class IncompleteDetails(Told):
    reason: Literal["max_output_tokens"]


class Response(BaseModel):
    """A response; beside these members, those of the request as they were understood."""

    id: Annotated[str, Field(examples=["resp_abc123"])]
    object: Literal["response"]
    created_at: int
    completed_at: int | None
    status: Literal["in_progress", "completed", "incomplete", "failed"]
    error: ResponseError | None
    incomplete_details: IncompleteDetails | None
    model: str
    output: list[ResponseItem]
    usage: ResponseUsage | None
    store: Literal[False]


class ResponseEvent(BaseModel):
    """One event of a streamed response: `event: <type>`, `data: {…}` and an empty line."""

    type: Annotated[str, Field(examples=["response.output_text.delta"])]
    sequence_number: int
    response: Response | None = None
    item: ResponseItem | None = None
    part: ResponseText | None = None
    item_id: str | None = None
    output_index: int | None = None
    content_index: int | None = None
    summary_index: int | None = None
    delta: str | None = None
    text: str | None = None
    arguments: str | None = None
