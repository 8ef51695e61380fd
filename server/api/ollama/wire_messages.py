"""Wire types of the messages of Ollama's conversations."""

from typing import Annotated, Literal

from pydantic import Field

from server.api.chat.wire_values import MAX_ITEMS, MAX_TOOLS, AnyObject, Wire


class OllamaFunction(Wire):
    name: str
    arguments: AnyObject = Field(default_factory=dict)


class OllamaToolCall(Wire):
    id: str | None = None
    function: OllamaFunction


class OllamaMessage(Wire):
    role: Literal["system", "user", "assistant", "tool"]
    content: str | None = None
    thinking: Annotated[str | None, Field(description="An earlier answer's trace")] = None
    images: Annotated[list[str], Field(max_length=MAX_ITEMS, fail_fast=True)] | None = None
    tool_calls: (
        Annotated[list[OllamaToolCall], Field(max_length=MAX_TOOLS, fail_fast=True)] | None
    ) = None
    tool_name: Annotated[str | None, Field(description="Of a result: whose")] = None
    tool_call_id: str | None = None
