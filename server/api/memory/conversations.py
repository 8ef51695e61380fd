"""/v1/conversations: made, told, changed, deleted; their items likewise."""

from collections.abc import Sequence
from typing import TypeVar

import msgspec
from pydantic import TypeAdapter

from server.accounts.limits import Admission
from server.api.content_type import check_content_type
from server.api.decode import decoded
from server.api.files.query import limit_of, one_of, query_of, unknown_after
from server.api.memory.kept_responses import (
    MOST_LISTED,
    USUALLY_LISTED,
    MemoryEndpoint,
    item_list,
)
from server.api.memory.wire import CHANGE, CONVERSATION, ITEMS
from server.api.memory.wire_answers import DeletedConversation, conversation_object
from server.api.responses.asked import asked
from server.api.responses.input import Turns
from server.api.responses.items import encoded_items, kept_items
from server.api.responses.wire import InputItem
from server.errors import ApiError
from server.http.exchange import Exchange
from server.ids import new_id
from server.memory.conversations import KeptConversation, new_conversation

W = TypeVar("W")
_encode = msgspec.json.encode


class ConversationEndpoint(MemoryEndpoint):
    """What they share."""

    def conversation_id(self, exchange: Exchange) -> str:
        named: str = exchange.scope["path_params"]["conversation_id"]
        return named

    async def body(self, exchange: Exchange, adapter: TypeAdapter[W]) -> W:
        """Raises ApiError."""
        services = self.services
        services.check_open()
        check_content_type(exchange)
        body = await exchange.body(services.settings.max_body_bytes)
        return await decoded(adapter, body, services.long_bodies)

    async def readable(self, items: Sequence[InputItem]) -> tuple[msgspec.Raw, ...]:
        """As they are kept. Raises ApiError 400."""
        return await self.services.long_bodies(readable, items)

    async def tell_of(self, exchange: Exchange, found: KeptConversation) -> int:
        return await self.tell(exchange, _encode(conversation_object(found)))


class CreateConversation(ConversationEndpoint):
    async def serve(self, exchange: Exchange, admission: Admission) -> int:
        memory = self.memory
        wire = await self.body(exchange, CONVERSATION)
        items = await self.readable(wire.items or ())
        metadata = _encode(wire.metadata or {})
        owner, conversation_id = admission.caller.owner, f"conv_{new_id(32)}"
        made = new_conversation(conversation_id, owner, metadata)
        await asked(memory.conversations.create, made, kept_items(items))
        return await self.tell_of(exchange, made)


class OneConversation(ConversationEndpoint):
    method = "GET"

    async def serve(self, exchange: Exchange, admission: Admission) -> int:
        find, owner = self.memory.conversations.find, admission.caller.owner
        return await self.tell_of(
            exchange, await asked(find, self.conversation_id(exchange), owner)
        )


class ChangeConversation(ConversationEndpoint):
    async def serve(self, exchange: Exchange, admission: Admission) -> int:
        update, owner = self.memory.conversations.update, admission.caller.owner
        wire = await self.body(exchange, CHANGE)
        metadata = _encode(wire.metadata or {})
        changed = await asked(update, self.conversation_id(exchange), owner, metadata)
        return await self.tell_of(exchange, changed)


class DeleteConversation(ConversationEndpoint):
    method = "DELETE"

    async def serve(self, exchange: Exchange, admission: Admission) -> int:
        delete, name = self.memory.conversations.delete, self.conversation_id(exchange)
        await asked(delete, name, admission.caller.owner)
        answer: DeletedConversation = {
            "id": name,
            "object": "conversation.deleted",
            "deleted": True,
        }
        return await self.tell(exchange, _encode(answer))


class AddItems(ConversationEndpoint):
    async def serve(self, exchange: Exchange, admission: Admission) -> int:
        add, name = self.memory.conversations.add, self.conversation_id(exchange)
        wire = await self.body(exchange, ITEMS)
        items = await self.readable(wire.items)
        await asked(add, name, admission.caller.owner, kept_items(items))
        return await self.tell(exchange, _encode(item_list(items, len(items))))


class ListItems(ConversationEndpoint):
    method = "GET"

    async def serve(self, exchange: Exchange, admission: Admission) -> int:
        query = query_of(exchange)
        limit = limit_of(query, MOST_LISTED, USUALLY_LISTED)
        order, after = one_of(query, "order", ("asc", "desc")), query.get("after")
        page = await asked(
            self.memory.conversations.page,
            self.conversation_id(exchange),
            admission.caller.owner,
            after=after,
            limit=limit,
            ascending=order == "asc",
        )
        if page is None:
            raise unknown_after(after)
        items = [msgspec.Raw(each.item) for each in page]
        return await self.tell(exchange, _encode(item_list(items, limit)))


class OneItem(ConversationEndpoint):
    method = "GET"

    async def serve(self, exchange: Exchange, admission: Admission) -> int:
        item_id = exchange.scope["path_params"]["item_id"]
        find, name = self.memory.conversations.item, self.conversation_id(exchange)
        found = await asked(find, name, admission.caller.owner, item_id)
        return await self.tell(exchange, found.item)


class DeleteItem(ConversationEndpoint):
    method = "DELETE"

    async def serve(self, exchange: Exchange, admission: Admission) -> int:
        item_id = exchange.scope["path_params"]["item_id"]
        delete, name = self.memory.conversations.delete_item, self.conversation_id(exchange)
        return await self.tell_of(
            exchange, await asked(delete, name, admission.caller.owner, item_id)
        )


def readable(items: Sequence[InputItem]) -> tuple[msgspec.Raw, ...]:
    """Items as they are kept, once it is known that a model can read each. Raises ApiError 400."""
    try:
        for i, item in enumerate(items):
            _check(i, item)
        return encoded_items(items)
    except ApiError as error:
        error.rename({error.param or "": (error.param or "").replace("input", "items", 1)})
        raise


def _check(place: int, item: InputItem) -> None:
    """Whether the call that it answers stands in the conversation already is not asked."""
    if item.type == "item_reference":
        field = f"items[{place}].type"
        message = f"{field} is item_reference; right would be the item itself."
        raise ApiError.invalid(message, field, item.type, "the item itself")
    if not _answers_a_call(item):
        Turns().take(f"input[{place}]", item)


def _answers_a_call(item: InputItem) -> bool:
    """Whether the call it answers may stand in the conversation already."""
    return bool(item.type and item.type.endswith("_output"))
