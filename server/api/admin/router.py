"""The routes of /admin/v1 that need the books alone."""

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.security import APIKeyHeader

from server.api.admin.audit import add_audit_routes
from server.api.admin.authority import PREFIX
from server.api.admin.keys import add_key_routes
from server.api.admin.route import AdminRoute
from server.api.admin.sign_in import add_sign_in_routes
from server.api.admin.tenants import add_member_routes, add_owner_routes, add_site_routes
from server.api.admin.terms import Terms
from server.api.admin.usage import add_usage_route
from server.api.audited import actor_of
from server.ledger.database import Database
from server.ledger.key_store import KeyStore

SCHEME = APIKeyHeader(name="X-API-Key", auto_error=False, description="wayscloud_admin_…")


def opened(open_books: Callable[[], Database]) -> Any:
    """The books as a route's parameter, closed once it has answered. `open_books` is called once a
    request, on a worker thread, and may raise LedgerUnavailable."""
    return Annotated[Database, Depends(_opener(open_books))]


def _opener(open_books: Callable[[], Database]) -> Callable[[Request], Iterator[Database]]:
    def books(request: Request) -> Iterator[Database]:
        with closing(open_books()) as database:
            database.actor = actor_of(request.scope)
            yield database

    return books


def admin_router(open_books: Callable[[], Database], terms: Terms) -> APIRouter:
    """The routes; who may come in is decided before them (AdminGate)."""
    Books, books = opened(open_books), _opener(open_books)

    def keys(database: Annotated[Database, Depends(books)]) -> KeyStore:
        return KeyStore(database)

    router = APIRouter(
        prefix=PREFIX,
        tags=["admin"],
        route_class=AdminRoute,
        redirect_slashes=False,
        dependencies=[Depends(SCHEME)],
    )
    add_key_routes(router, Annotated[KeyStore, Depends(keys)], terms)
    add_site_routes(router, Books, terms)
    add_owner_routes(router, Books, terms)
    add_sign_in_routes(router, Books)
    add_member_routes(router, Books, terms)
    add_usage_route(router, Books)
    add_audit_routes(router, Books)
    return router
