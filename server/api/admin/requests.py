"""/admin/v1/requests: the last requests of this server, and one request's timeline."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi import Path as InPath
from pydantic import BaseModel, Field

from server.accounts.auth import KeyRing
from server.api.admin.reach import Reach, Reached
from server.errors import ApiError, brief
from server.http.recent_requests import Chosen, RecentRequest, RecentRequests, Seen
from server.ledger.key_names import id_of
from server.ledger.keys import Key
from server.ledger.money import decimal_text
from server.ledger.records import End


class RequestPhase(BaseModel):
    """A part of it, after the one before."""

    phase: str = Field(
        description="queue: for an engine. prompt: rendered and reserved for. prefill: to its "
        "first token. decode: to its last. embed, score, tokenize. settle: its record is written"
    )
    begins_ms: float = Field(description="After the work began")
    lasts_ms: float


class ShownRequest(BaseModel):
    """A request that has ended; null: it was refused before that was known."""

    request_id: str
    ended_at: str
    duration_ms: float
    method: str
    path: str
    status: int = Field(description="499: its client left before it was answered")
    code: str | None = Field(description="Of the error that was its end")
    key_id: str | None
    owner: str | None
    alias: str | None
    agent_id: str | None
    end: str | None = Field(description="As its usage record has it: ok, length, client_left, …")
    stream: bool | None
    wait_ms: float | None = Field(description="For an engine")
    ttft_ms: float | None = Field(description="To the first token")
    prompt_tokens: int | None
    cached_tokens: int | None
    completion_tokens: int | None
    reasoning_tokens: int | None
    tokens_per_s: float | None = Field(description="After the first token")
    amount: str | None = Field(description="An exact decimal")
    currency: str | None


class RequestTimeline(ShownRequest):
    phases: list[RequestPhase]


class ShownRequests(BaseModel):
    requests: list[ShownRequest]


def add_request_routes(router: APIRouter, recent: RecentRequests, ring: KeyRing) -> None:
    """Owners and keys are found in `ring` by name or id."""

    @router.get("/requests", summary="The last requests of this server, the newest first")
    async def list_requests(
        reach: Reached,
        limit: Annotated[int, Query(ge=1, le=2000)] = 100,
        offset: Annotated[int, Query(ge=0, le=2000, description="Behind so many.")] = 0,
        owner: str | None = None,
        key_id: str | None = None,
        alias: str | None = None,
        status: Annotated[
            str | None, Query(pattern="^[1-5]([0-9][0-9]|xx)$", description="As 429, or 4xx.")
        ] = None,
        code: Annotated[
            str | None, Query(max_length=100, description="Of the error that was its end.")
        ] = None,
        end: Annotated[End | None, Query(description="As its usage record has it.")] = None,
        failed: Annotated[bool, Query(description="Those alone that ended with an error")] = False,
    ) -> ShownRequests:
        keys = [key for key in ring.all_keys() if reach.has_key(key)]
        chosen = Chosen(
            owner=None if owner is None else _owner_name(keys, owner),
            key_id=None if key_id is None else id_of(keys, key_id),
            alias=alias,
            status=status,
            code=code,
            end=end,
            has_failed=failed,
        )
        found = recent.newest(limit, chosen, _seen(reach, keys), offset)
        return ShownRequests(requests=[ShownRequest(**_facts(each)) for each in found])

    @router.get("/requests/{request_id}", summary="One of them, and what its time went into")
    async def show_request(
        request_id: Annotated[str, InPath(description="Its X-Request-Id", max_length=128)],
        reach: Reached,
    ) -> RequestTimeline:
        keys = [key for key in ring.all_keys() if reach.has_key(key)]
        found = recent.find(request_id, _seen(reach, keys))
        if found is None:
            message = f"{brief(request_id)!r} is none of the last requests of this server."
            raise ApiError(404, "NOT_FOUND", message)
        return RequestTimeline(**_facts(found), phases=list(_phases(found)))


def _seen(reach: Reach, keys: Iterable[Key]) -> Seen:
    """`keys`: those within reach. An owner's are those that name it, whose key it is now."""
    if reach.is_whole_site:
        return lambda _: True
    if reach.member_id is None:
        return lambda each: each.owner == reach.owner
    own = {key.key_id for key in keys}
    return lambda each: each.owner == reach.owner and each.key_id in own


def _owner_name(keys: Iterable[Key], word: str) -> str:
    """Of an owner of `keys` by name or id; of none the word itself."""
    return next((key.owner for key in keys if key.above.owner_id == word), word)


def _facts(each: RecentRequest) -> dict[str, object]:
    work = each.work
    moment = datetime.fromtimestamp(each.ended_at, UTC).isoformat(timespec="milliseconds")
    facts: dict[str, object] = {
        "request_id": each.request_id,
        "ended_at": moment.replace("+00:00", "Z"),
        "duration_ms": _ms(each.duration_s),
        "method": each.method,
        "path": each.path,
        "status": each.status,
        "agent_id": each.agent_id,
        **{name: getattr(each, name) or None for name in ("code", "key_id", "owner", "alias")},
        "amount": decimal_text(each.amount) if each.currency else None,
        "currency": each.currency or None,
    }
    tokens = ("prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens")
    known = {name: None if work is None else getattr(work, name) for name in ("end", *tokens)}
    return facts | known | _speed(each)


def _speed(each: RecentRequest) -> dict[str, object]:
    work = each.work
    if work is None:
        return {"stream": None, "wait_ms": None, "ttft_ms": None, "tokens_per_s": None}
    phase, until = work.phases[0] if work.phases else ("", work.began)
    return {
        "stream": work.is_stream,
        "wait_ms": _ms(until - work.began) if phase == "queue" else None,
        "ttft_ms": None if work.ttft_s is None else _ms(work.ttft_s),
        "tokens_per_s": round(1 / work.per_token_s, 1) if work.per_token_s else None,
    }


def _phases(each: RecentRequest) -> list[RequestPhase]:
    work, found = each.work, []
    if work is not None:
        began = work.began
        for phase, until in work.phases:
            lasts, begins = _ms(until - began), _ms(began - work.began)
            found.append(RequestPhase(phase=phase, begins_ms=begins, lasts_ms=lasts))
            began = until
    return found


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 2)
