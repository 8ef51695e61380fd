"""Every operation of batches."""

from functools import partial
from typing import Any, Final

from server.api.batches import endpoints as batches
from server.api.batches import wire_answers as answers
from server.api.batches.wire import BATCH
from server.api.openapi.operation import Operation


def _schema() -> dict[str, Any]:
    """Without definitions of its own: they would be no part of the document."""
    schema = BATCH.json_schema()
    expiry = schema.pop("$defs")["OutputExpiry"]
    schema["properties"]["output_expires_after"] = {"anyOf": [expiry, {"type": "null"}]}
    return schema


_BODY: Final[dict[str, Any]] = {
    "required": True,
    "content": {"application/json": {"schema": _schema()}},
}
_own = partial(Operation, tag="batches")
BATCH_OPERATIONS: tuple[Operation, ...] = (
    _own(
        paths=("/v1/batches",),
        build=batches.CreateBatch,
        summary="Begin a batch",
        description="Its file is checked line by line; then each line is a request.",
        verb="post",
        raw_body=_BODY,
        takes_key=True,
        answer=answers.BatchObject,
    ),
    _own(
        paths=("/v1/batches",),
        build=batches.ListBatches,
        summary="List batches",
        description="The newest first: those of the key's owner.",
        query={"after": "string", "limit": "integer"},
        answer=answers.BatchList,
    ),
    _own(
        paths=("/v1/batches/{batch_id}",),
        build=batches.OneBatch,
        summary="One batch",
        answer=answers.BatchObject,
    ),
    _own(
        paths=("/v1/batches/{batch_id}/cancel",),
        build=batches.CancelBatch,
        summary="Cancel a batch",
        description="What runs is cut and billed; what was answered is kept.",
        verb="post",
        answer=answers.BatchObject,
    ),
)
