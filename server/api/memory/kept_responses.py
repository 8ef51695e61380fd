"""/v1/responses/{id}: told again, cancelled, deleted; its input, page by page."""

from collections.abc import Sequence
from typing import Any, cast

import msgspec

from server.accounts.limits import Admission
from server.api.endpoint import KeyedEndpoint
from server.api.files.query import limit_of, number_of, one_of, query_of, unknown_after
from server.api.memory.following import kept_events, tell_events, when_over
from server.api.responses.asked import asked
from server.api.responses.background import CANCEL_S
from server.api.responses.items import item_id
from server.api.responses.wire_answers import DeletedResponse, ItemList
from server.errors import ApiError, brief
from server.http.exchange import Exchange
from server.memory.memory import Memory
from server.memory.response_rows import KeptResponse

MOST_LISTED = 100
USUALLY_LISTED = 20
_HIGHEST_NUMBER = 10**9
_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
"""Each as it was written: a huge integer is none in Python's JSON of 64 bits."""


class MemoryEndpoint(KeyedEndpoint):
    """What the endpoints of kept things share."""

    @property
    def memory(self) -> Memory:
        """Raises ApiError 404 where this server keeps nothing."""
        if self.services.memory is None:
            message = "This server keeps no responses and no conversations."
            raise ApiError(404, "NOT_FOUND", message)
        return self.services.memory

    async def tell(self, exchange: Exchange, body: bytes) -> int:
        self.services.metrics.answered("", self.endpoint, 200)
        await exchange.reply(200, body)
        return 0

    async def found(self, exchange: Exchange, admission: Admission) -> KeptResponse:
        """The response of the path. Raises ApiError 404."""
        response_id = exchange.scope["path_params"]["response_id"]
        return await asked(self.memory.find, response_id, admission.caller.owner)


class OneResponse(MemoryEndpoint):
    method = "GET"

    async def serve(self, exchange: Exchange, admission: Admission) -> int:
        query = query_of(exchange)
        is_stream = one_of(query, "stream", ("true", "false")) == "true"
        number = number_of(query, "starting_after", 0, _HIGHEST_NUMBER - 1)
        after = -1 if number is None else number
        if number is not None and not is_stream:
            message = "starting_after is for stream=true."
            raise ApiError.invalid(message, "starting_after", after, "stream=true beside it")
        kept = await self.found(exchange, admission)
        run = self.services.background.find(kept.response_id)
        if not is_stream:
            is_begun = run is not None and run.is_running and kept.status == "queued"
            now = msgspec.structs.replace(kept, status="in_progress") if is_begun else kept
            return await self.tell(exchange, told(now))
        patience_s, owner = self.services.settings.keep_alive_s, kept.owner
        events = (
            run.answer.follow(after + 1, patience_s)
            if run is not None
            else kept_events(self.memory, kept.response_id, owner, after + 1, patience_s)
        )
        self.services.limiter.release(admission)
        with self.services.background.following(owner):
            await tell_events(exchange, events, self.services, self.endpoint)
        return 0


class CancelResponse(MemoryEndpoint):
    """POST: of one that is over nothing changes."""

    async def serve(self, exchange: Exchange, admission: Admission) -> int:
        kept = await self.found(exchange, admission)
        if not kept.is_background:
            message = "Only a response that was made with background: true can be cancelled."
            shown = brief(kept.response_id)
            raise ApiError.invalid(message, "response_id", shown, "a background response")
        run = self.services.background.find(kept.response_id)
        if run is not None:
            await self.services.background.cancel(run)
            kept = await self.found(exchange, admission)
        elif not kept.is_over:
            background, owner = self.memory.background, kept.owner
            await asked(background.ask_cancel, kept.response_id, owner)
            kept = await when_over(self.memory, kept.response_id, owner, CANCEL_S)
        return await self.tell(exchange, told(kept))


class DeleteResponse(MemoryEndpoint):
    method = "DELETE"

    async def serve(self, exchange: Exchange, admission: Admission) -> int:
        kept = await self.found(exchange, admission)
        run = self.services.background.find(kept.response_id)
        if run is not None:
            await self.services.background.cancel(run)
        await asked(self.memory.responses.delete, kept.response_id, kept.owner)
        answer: DeletedResponse = {"id": kept.response_id, "object": "response", "deleted": True}
        return await self.tell(exchange, msgspec.json.encode(answer))


class InputItems(MemoryEndpoint):
    method = "GET"

    async def serve(self, exchange: Exchange, admission: Admission) -> int:
        query = query_of(exchange)
        limit = limit_of(query, MOST_LISTED, USUALLY_LISTED)
        order = one_of(query, "order", ("asc", "desc"))
        kept = await self.found(exchange, admission)
        page = await asked(_page, kept, query.get("after"), limit, ascending=order == "asc")
        if page is None:
            raise unknown_after(query.get("after"))
        return await self.tell(exchange, page)


def _page(kept: KeptResponse, after: str | None, limit: int, *, ascending: bool) -> bytes | None:
    """As JSON; None: there is no such `after`."""
    items = list(kept.turn.input)
    if not ascending:
        items.reverse()
    if after is not None:
        places = [i for i, item in enumerate(items) if item_id(item) == after]
        if not places:
            return None
        items = items[places[0] + 1 :]
    return msgspec.json.encode(item_list(items, limit))


def told(kept: KeptResponse) -> bytes:
    """The response as JSON."""
    head: dict[str, Any] = _members(kept.head)
    return msgspec.json.encode(head | {"status": kept.status, "output": kept.turn.output})


def item_list(items: Sequence[msgspec.Raw], limit: int) -> ItemList:
    """`items`: where there are more than `limit`, at least one more."""
    shown = items[:limit]
    return {
        "object": "list",
        "data": cast(list[dict[str, Any]], list(shown)),
        "first_id": item_id(shown[0]) if shown else None,
        "last_id": item_id(shown[-1]) if shown else None,
        "has_more": len(items) > limit,
    }
