"""Conversations as OpenAI's API tells of them."""

from typing import Any, Literal, cast

import msgspec
from typing_extensions import TypedDict

from server.memory.conversations import KeptConversation


class ConversationObject(TypedDict):
    id: str
    object: Literal["conversation"]
    created_at: int
    metadata: dict[str, Any]


class DeletedConversation(TypedDict):
    id: str
    object: Literal["conversation.deleted"]
    deleted: Literal[True]


class ConversationItem(TypedDict):
    """An item: its members are those that it came with."""

    id: str
    type: str


def conversation_object(conversation: KeptConversation) -> ConversationObject:
    return {
        "id": conversation.conversation_id,
        "object": "conversation",
        "created_at": conversation.created_at,
        "metadata": cast(dict[str, Any], msgspec.Raw(conversation.metadata)),
    }
