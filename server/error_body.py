"""The one body of every error, as types."""

from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field, with_config
from typing_extensions import TypedDict


@with_config(extra="allow")
class ErrorDetails(TypedDict, total=False):
    """INVALID_PARAMETER: field, provided, expected. CONTEXT_LENGTH_EXCEEDED: the three numbers.
    BUDGET_EXCEEDED and what limits of keys refuse: level, whose it is. REQUEST_TIMEOUT, OVERLOADED:
    where it waited, or would have, on a full engine."""

    field: str | None
    provided: Any
    expected: str | None
    prompt_tokens: int
    max_tokens: int | None
    context_tokens: int
    level: Literal["site", "owner", "member", "key"]
    position: int | None
    owner_position: int


class ErrorMembers(TypedDict):
    code: Annotated[str, Field(description="For programs", examples=["INVALID_PARAMETER"])]
    message: Annotated[str, Field(description="For people: what was wrong, what would be right")]
    type: Annotated[str, Field(description="OpenAI's error type")]
    param: Annotated[str | None, Field(description="The field that was wrong")]
    details: NotRequired[ErrorDetails]


class Error(TypedDict):
    """The one body of every error."""

    error: ErrorMembers
    detail: Annotated[str, Field(description="error.message again")]
