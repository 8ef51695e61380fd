"""Wire types of the conversation of /v1/messages: roles and the blocks of their content."""

from typing import Annotated, Literal

from pydantic import Field

from server.api.chat.wire_values import MAX_ITEMS, AnyObject, Wire


class ImageSource(Wire):
    """Where a picture is."""

    type: Annotated[str, Field(description="base64 or url")]
    media_type: Annotated[
        str | None, Field(description="image/png, image/jpeg, image/webp or image/gif")
    ] = None
    data: Annotated[str | None, Field(description="base64: the picture")] = None
    url: Annotated[str | None, Field(description="url: an address of an allowed host")] = None


class ResultBlock(Wire):
    """A piece of a tool's result: a text or a picture; others are refused by type, not shape."""

    type: str
    text: str | None = None
    source: ImageSource | None = None


ResultBlocks = Annotated[list[ResultBlock], Field(max_length=MAX_ITEMS, fail_fast=True)]


class ContentBlock(Wire):
    """text; an assistant's thinking, redacted_thinking and tool_use; a user's tool_result and
    image."""

    type: str
    text: str | None = None
    source: Annotated[ImageSource | None, Field(description="Of an image")] = None
    thinking: Annotated[str | None, Field(description="An earlier answer's trace")] = None
    signature: Annotated[str | None, Field(description="Of a trace; not looked at")] = None
    data: Annotated[str | None, Field(description="Of a redacted trace; not looked at")] = None
    id: Annotated[str | None, Field(description="Of a tool_use")] = None
    name: Annotated[str | None, Field(description="Of a tool_use: the tool's")] = None
    input: Annotated[AnyObject | None, Field(description="Of a tool_use")] = None
    tool_use_id: Annotated[str | None, Field(description="Of a tool_result")] = None
    content: Annotated[str | ResultBlocks | None, Field(description="Of a tool_result")] = None
    is_error: Annotated[bool | None, Field(description="Of a tool_result")] = None


Blocks = Annotated[list[ContentBlock], Field(max_length=MAX_ITEMS, fail_fast=True)]


class MessageTurn(Wire):
    """One message."""

    role: Literal["user", "assistant", "system"]
    content: str | Blocks


class SystemBlock(Wire):
    type: str
    text: str | None = None


Turns = Annotated[list[MessageTurn], Field(min_length=1, max_length=MAX_ITEMS, fail_fast=True)]
System = Annotated[list[SystemBlock], Field(max_length=MAX_ITEMS, fail_fast=True)]
