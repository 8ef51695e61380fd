"""/v1/batches: make, list, one, cancel."""

import time
from typing import Final

from server.accounts.limits import Admission
from server.api.batches.wire import BATCH, BatchRequest
from server.api.batches.wire_answers import BatchList, batch_object
from server.api.content_type import check_content_type
from server.api.decode import decoded
from server.api.files.disk import disk_trouble
from server.api.files.endpoints import FilesEndpoint
from server.api.files.query import limit_of, query_of, unknown_after
from server.batches.runner import NotCancellable, TooManyBatches
from server.batches.store import Batch
from server.errors import ApiError, brief
from server.http.exchange import Exchange
from server.ids import new_id
from server.ledger.records import Caller

WINDOW_S: Final = 86_400
MOST_LISTED: Final = 100
_USUALLY_LISTED: Final = 20
_BODY_BYTES: Final = 64 * 1024


class CreateBatch(FilesEndpoint):
    """POST /v1/batches: the answer says `validating`; what is wrong with a line comes later."""

    takes_key = True

    async def serve(self, exchange: Exchange, admission: Admission) -> int:
        services, caller = self.services, admission.caller
        services.check_open()
        check_content_type(exchange)
        limit = min(_BODY_BYTES, services.settings.max_body_bytes)
        body = await exchange.body(limit)
        wire = await decoded(BATCH, body, services.long_bodies)
        file = await self.found(wire.input_file_id, caller.owner)
        if file.purpose != "batch":
            message = "The input must be a file of purpose batch."
            raise ApiError.invalid(message, "input_file_id", file.file_id, "a file of that purpose")
        await services.ledger.check_budget(caller.key_id, services.currency(caller))
        batch = _batch(wire, caller)
        try:
            with disk_trouble():
                await services.batches.submit(batch)
        except TooManyBatches as refusal:
            raise ApiError.retry(429, "CONCURRENCY_LIMIT_EXCEEDED", str(refusal), 60) from None
        return await self.tell(exchange, batch_object(batch))


class ListBatches(FilesEndpoint):
    method = "GET"

    async def serve(self, exchange: Exchange, admission: Admission) -> int:
        query = query_of(exchange)
        limit, after = limit_of(query, MOST_LISTED, _USUALLY_LISTED), query.get("after")
        with disk_trouble():
            page = await self.services.batches.page(admission.caller.owner, after, limit)
        if page is None:
            raise unknown_after(after)
        shown = [batch_object(batch) for batch in page[:limit]]
        answer: BatchList = {
            "object": "list",
            "data": shown,
            "first_id": shown[0]["id"] if shown else None,
            "last_id": shown[-1]["id"] if shown else None,
            "has_more": len(page) > limit,
        }
        return await self.tell(exchange, answer)


class OneBatch(FilesEndpoint):
    method = "GET"

    async def serve(self, exchange: Exchange, admission: Admission) -> int:
        batch_id = exchange.scope["path_params"]["batch_id"]
        with disk_trouble():
            batch = await self.services.batches.find(batch_id, admission.caller.owner)
        return await self.tell(exchange, batch_object(_there(batch, batch_id)))


class CancelBatch(FilesEndpoint):
    async def serve(self, exchange: Exchange, admission: Admission) -> int:
        batch_id = exchange.scope["path_params"]["batch_id"]
        try:
            with disk_trouble():
                batch = await self.services.batches.cancel(batch_id, admission.caller.owner)
        except NotCancellable as refusal:
            expected = "a batch that is not over"
            shown = brief(batch_id)
            raise ApiError.invalid(str(refusal), "batch_id", shown, expected) from None
        return await self.tell(exchange, batch_object(_there(batch, batch_id)))


def _there(batch: Batch | None, batch_id: str) -> Batch:
    """Raises ApiError 404: also for another owner's."""
    if batch is None:
        message = f"There is no batch {brief(batch_id)!r}."
        raise ApiError(404, "NOT_FOUND", message, param="batch_id")
    return batch


def _batch(wire: BatchRequest, caller: Caller) -> Batch:
    now, expiry = int(time.time()), wire.output_expires_after
    return Batch(
        batch_id=f"batch_{new_id(24)}",
        owner=caller.owner,
        key_id=caller.key_id,
        endpoint=wire.endpoint,
        input_file_id=wire.input_file_id,
        completion_window=wire.completion_window,
        created_at=now,
        expires_at=now + WINDOW_S,
        metadata=wire.metadata,
        output_expires_s=None if expiry is None else expiry.seconds,
    )
