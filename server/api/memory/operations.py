"""Every operation of what is kept; /v1/responses itself is in the table of all."""

from functools import partial

from server.api.memory import conversations, kept_responses
from server.api.memory import wire_answers as answers
from server.api.memory.wire import ConversationChange, ConversationItems, ConversationRequest
from server.api.openapi.operation import Operation
from server.api.responses.wire_answers import DeletedResponse, ItemList, Response, ResponseEvent

_PAGE = {"after": "string", "limit": "integer", "order": "string"}
_ONE = ("/v1/responses/{response_id}",)
_CONVERSATION = ("/v1/conversations/{conversation_id}",)
_ITEMS = ("/v1/conversations/{conversation_id}/items",)
_ITEM = ("/v1/conversations/{conversation_id}/items/{item_id}",)
_response = partial(Operation, tag="kept_responses")
_conversation = partial(Operation, tag="conversations")
MEMORY_OPERATIONS: tuple[Operation, ...] = (
    _response(
        paths=_ONE,
        build=kept_responses.OneResponse,
        summary="A kept response",
        description="Or, with `stream=true`, its events from any number on, and those to come.",
        query={"stream": "boolean", "starting_after": "integer"},
        answer=Response,
        event=ResponseEvent,
    ),
    _response(
        paths=_ONE,
        build=kept_responses.DeleteResponse,
        summary="Delete a kept response",
        verb="delete",
        answer=DeletedResponse,
    ),
    _response(
        paths=("/v1/responses/{response_id}/cancel",),
        build=kept_responses.CancelResponse,
        summary="Cancel a background response",
        description="What it has generated is billed, and kept.",
        verb="post",
        answer=Response,
    ),
    _response(
        paths=("/v1/responses/{response_id}/input_items",),
        build=kept_responses.InputItems,
        summary="What a response was given",
        query=_PAGE,
        answer=ItemList,
    ),
    _conversation(
        paths=("/v1/conversations",),
        build=conversations.CreateConversation,
        summary="Begin a conversation",
        body=ConversationRequest,
        answer=answers.ConversationObject,
    ),
    _conversation(
        paths=_CONVERSATION,
        build=conversations.OneConversation,
        summary="One conversation",
        answer=answers.ConversationObject,
    ),
    _conversation(
        paths=_CONVERSATION,
        build=conversations.ChangeConversation,
        summary="Change a conversation's metadata",
        body=ConversationChange,
        answer=answers.ConversationObject,
    ),
    _conversation(
        paths=_CONVERSATION,
        build=conversations.DeleteConversation,
        summary="Delete a conversation",
        description="With its items; responses that were made in it stay.",
        verb="delete",
        answer=answers.DeletedConversation,
    ),
    _conversation(
        paths=_ITEMS,
        build=conversations.AddItems,
        summary="Add items to a conversation",
        body=ConversationItems,
        answer=ItemList,
    ),
    _conversation(
        paths=_ITEMS,
        build=conversations.ListItems,
        summary="A conversation's items",
        description="The newest first, unless `order=asc`.",
        query=_PAGE,
        answer=ItemList,
    ),
    _conversation(
        paths=_ITEM,
        build=conversations.OneItem,
        summary="One item",
        answer=answers.ConversationItem,
    ),
    _conversation(
        paths=_ITEM,
        build=conversations.DeleteItem,
        summary="Delete an item",
        verb="delete",
        answer=answers.ConversationObject,
    ),
)
