"""The bodies of /v1/conversations."""

from typing import Annotated

from pydantic import Field, TypeAdapter

from server.api.chat.wire_values import Metadata, Wire
from server.api.responses.wire import InputItem

MOST_ADDED = 20
"""Items at a time, as OpenAI has it."""
AddedItems = Annotated[list[InputItem], Field(min_length=1, max_length=MOST_ADDED, fail_fast=True)]
FirstItems = Annotated[list[InputItem], Field(max_length=MOST_ADDED, fail_fast=True)]


class ConversationRequest(Wire):
    """The body of POST /v1/conversations."""

    items: Annotated[FirstItems | None, Field(description="What it begins with")] = None
    metadata: Annotated[Metadata | None, Field(description="Kept, and told with it")] = None


class ConversationChange(Wire):
    """The body of POST /v1/conversations/{conversation_id}."""

    metadata: Annotated[Metadata | None, Field(description="In place of what it had")]


class ConversationItems(Wire):
    """The body of POST /v1/conversations/{conversation_id}/items."""

    items: Annotated[AddedItems, Field(description="Put at its end, in this order")]


CONVERSATION: TypeAdapter[ConversationRequest] = TypeAdapter(ConversationRequest)
CHANGE: TypeAdapter[ConversationChange] = TypeAdapter(ConversationChange)
ITEMS: TypeAdapter[ConversationItems] = TypeAdapter(ConversationItems)
