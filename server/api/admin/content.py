"""/admin/v1/kept-requests and …/requests/{id}/content: what is kept of them; a reader is noted."""

from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from server.api.admin.reach import Reach, Reached
from server.api.services import Services
from server.errors import ApiError, brief
from server.ledger.audit import note
from server.ledger.database import Database
from server.memory.errors import NotKept
from server.memory.kept_requests import KeptRequest

At = Annotated[int | None, Query(ge=0, le=2**62, description="Only older ones: Unix seconds.")]

Behind = Annotated[
    str,
    Query(
        max_length=200,
        description="With `before`, the `kept_id` of the last one that was listed: those of its "
        "second that come behind it are listed too.",
    ),
]


class KeptOne(BaseModel):
    """A request of which something is kept. Times in Unix seconds."""

    kept_id: str
    request_id: str = Field(description="Its X-Request-Id: its client may have chosen it")
    owner: str
    key_id: str
    at: int
    expires_at: int
    mode: Literal["metadata", "full"]
    path: str
    status: int


class KeptContent(KeptOne):
    content: dict[str, Any] = Field(
        description="full: body and answer, a MiB of each; metadata: numbers and kinds"
    )


class KeptRequests(BaseModel):
    requests: list[KeptOne]


def add_content_routes(router: APIRouter, Books: Any, services: Services) -> None:
    """Before the routes of requests, of which an id may hold a slash."""

    def find(books: Database, reach: Reach, word: str) -> KeptRequest:
        if services.memory is None:
            raise _nothing(word)
        try:
            return services.memory.requests.find(word, reach.owner)
        except NotKept:
            raise _nothing(word) from None

    @router.get("/kept-requests", summary="Requests of which something is kept, the newest first")
    def list_kept(
        books: Books,
        reach: Reached,
        owner: str | None = None,
        key_id: Annotated[str | None, Query(description="By id.", max_length=200)] = None,
        before: At = None,
        behind: Behind = "",
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> KeptRequests:
        """Without their content."""
        if services.memory is None:
            return KeptRequests(requests=[])
        name = reach.owner if owner is None else reach.owner_word(books, owner)
        if reach.owner not in (None, name):
            return KeptRequests(requests=[])
        found = services.memory.requests.newest(
            limit, owner=name, key_id=key_id, before=before, behind=behind
        )
        return KeptRequests(requests=[KeptOne(**_facts(each)) for each in found])

    @router.get("/requests/{request_id}/content", summary="What is kept of a request")
    def show_content(request_id: str, books: Books, reach: Reached) -> KeptContent:
        """That it was read stands in the audit log."""
        found = find(books, reach, request_id)
        about = {"request": found.request_id, "owner": found.owner, "mode": found.mode}
        note(books, "content.read", found.kept_id, None, about)
        return KeptContent(**_facts(found), content=msgspec.json.decode(found.content))


def _facts(kept: KeptRequest) -> dict[str, Any]:
    return {name: getattr(kept, name) for name in KeptOne.model_fields}


def _nothing(word: str) -> ApiError:
    return ApiError(404, "NOT_FOUND", f"Nothing is kept of a request {brief(word)!r}.")
