"""/admin/v1: keys and usage for programs, behind an admin key; described by OpenAPI."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from datetime import UTC, date, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from fastapi.security import APIKeyHeader
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from engines.registry.names import ModelNames
from server.accounts.allowance_wire import KeyDoesNotFit
from server.accounts.key_wire import (
    MAX_GRACE_S,
    KeyIn,
    KeyMade,
    KeyOut,
    KeyPatch,
    key_made,
    key_out,
)
from server.api.admin_audit import add_audit_routes
from server.api.admin_tenants import add_member_routes, add_owner_routes, add_site_routes
from server.api.audited import actor_of
from server.api.model_aliases import by_alias
from server.api.openapi.errors import error_refs
from server.errors import ApiError, brief, to_api_error
from server.http.request_log import line_of
from server.ledger.database import Database
from server.ledger.errors import TenantConflict, TenantNotFound
from server.ledger.key_names import id_of, key_of, keys_of
from server.ledger.key_store import KeyStore
from server.ledger.owner_store import OwnerStore
from server.ledger.reports import Dimension, Only, Period, usage, with_money

ERRORS = (400, 401, 403, 404, 405, 413, 500, 503)

log = logging.getLogger("fjord.api")


class AdminRoute(APIRoute):
    """Failures leave as the one error body, whatever raised them, and are described so."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options | {"openapi_extra": {"responses": error_refs(ERRORS)}})

    def get_route_handler(self) -> Callable[[Request], Any]:
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await handle(request)
            except Exception as error:
                raise explained(error, line_of(request.scope).request_id) from error

        return answer


def explained(error: Exception, request_id: str) -> ApiError:
    """The error as it goes out; one that nobody foresaw goes to the log as well."""
    if isinstance(error, TenantNotFound):
        return ApiError(404, "NOT_FOUND", brief(str(error)))
    if isinstance(error, RequestValidationError):
        return _wrong_field(error.errors()[0])
    if isinstance(error, HTTPException):  # a body that FastAPI could not parse
        return ApiError.invalid(f"{error.detail}.", None, None, "a JSON object")
    if isinstance(error, KeyDoesNotFit):
        return ApiError.invalid(f"{error}.", None, None, str(error))
    if isinstance(error, TenantConflict):
        return ApiError.invalid(str(error), None, None, str(error))
    out = to_api_error(error)
    if out.status >= 500:
        is_foreseen = out.code != "INTERNAL_ERROR"
        log.error("request %s: %s", request_id, error, exc_info=None if is_foreseen else error)
    return out


def _wrong_field(wrong: Mapping[str, Any]) -> ApiError:
    name = brief(".".join(str(part) for part in wrong["loc"][1:]))
    message = f"{name or 'body'}: {wrong['msg']}."
    return ApiError.invalid(message, name or None, brief(wrong.get("input")), wrong["msg"])


def admin_router(open_books: Callable[[], Database], names: Callable[[], ModelNames]) -> APIRouter:
    """The routes; who may come in is decided before them (AdminGate). `open_books` is called once
    a request, on a worker thread, and may raise LedgerUnavailable."""

    def books(request: Request) -> Iterator[Database]:
        with closing(open_books()) as database:
            database.actor = actor_of(request.scope)
            yield database

    def keys(database: Annotated[Database, Depends(books)]) -> KeyStore:
        return KeyStore(database)

    router = APIRouter(
        prefix="/admin/v1",
        tags=["admin"],
        route_class=AdminRoute,
        redirect_slashes=False,
        dependencies=[Depends(SCHEME)],
    )
    add_key_routes(router, Annotated[KeyStore, Depends(keys)], names)
    Books = Annotated[Database, Depends(books)]
    add_site_routes(router, Books, names)
    add_owner_routes(router, Books, names)
    add_member_routes(router, Books, names)
    add_usage_route(router, Books)
    add_audit_routes(router, Books)
    return router


SCHEME = APIKeyHeader(name="X-API-Key", auto_error=False, description="wayscloud_admin_…")


def add_key_routes(router: APIRouter, Keys: Any, names: Callable[[], ModelNames]) -> None:
    @router.post("/keys", status_code=201, summary="Make a key; its text is shown only now")
    def create_key(body: KeyIn, keys: Keys) -> KeyMade:
        return key_made(*keys.create(by_alias(body, names()).key()))

    @router.get("/keys", summary="All keys, the oldest first")
    def list_keys(keys: Keys, owner: str | None = None, member: str | None = None) -> list[KeyOut]:
        """Of an owner, of a member: by name or id."""
        return [key_out(key) for key in keys_of(keys, owner, member)]

    @router.get("/keys/{key_id}", summary="One key, by id or name")
    def show_key(key_id: str, keys: Keys) -> KeyOut:
        return key_out(key_of(keys.list(), key_id))

    @router.patch("/keys/{key_id}", summary="Change the fields that are sent; null is the default")
    def update_key(key_id: str, body: KeyPatch, keys: Keys) -> KeyOut:
        found = key_of(keys.list(), key_id).key_id
        return key_out(keys.update(found, by_alias(body, names()).apply))

    @router.post("/keys/{key_id}/rotate", summary="Give a key a new text")
    def rotate_key(
        key_id: str, keys: Keys, grace_s: Annotated[float, Query(ge=0, le=MAX_GRACE_S)] = 0.0
    ) -> KeyMade:
        return key_made(*keys.rotate(key_of(keys.list(), key_id).key_id, grace_s=grace_s))

    @router.delete("/keys/{key_id}", summary="Revoke a key, for ever; its records stay")
    def revoke_key(key_id: str, keys: Keys) -> KeyOut:
        return key_out(keys.revoke(key_of(keys.list(), key_id).key_id))


class UsageReport(BaseModel):
    """Lines of sums; `amount` is an exact decimal, `amount_micro` the integer it stands for."""

    first: date
    last: date
    lines: list[dict[str, Any]]


def add_usage_route(router: APIRouter, Books: Any) -> None:
    @router.get("/usage", summary="Requests, tokens and money of a period; days are UTC")
    def read_usage(
        books: Books,
        first: Annotated[date | None, Query(description="Default: this month's first.")] = None,
        last: Annotated[date | None, Query(description="Included. Default: today.")] = None,
        by: Annotated[list[Dimension] | None, Query()] = None,
        owner: str | None = None,
        key_id: str | None = None,
        alias: str | None = None,
    ) -> UsageReport:
        today = datetime.now(UTC).date()
        period = Period(first or today.replace(day=1), last or today)
        if period.first > period.last:
            message = f"first {period.first} is after last {period.last}."
            raise ApiError.invalid(message, "first", str(period.first), "a day up to last")
        name = None if owner is None else OwnerStore(books).name_of(owner)
        key = None if key_id is None else id_of(KeyStore(books).list(), key_id)
        only = Only(owner=name, key_id=key, alias=alias)
        lines = usage(books, period, by or ["day"], only)
        return UsageReport(
            first=period.first, last=period.last, lines=[with_money(line) for line in lines]
        )
