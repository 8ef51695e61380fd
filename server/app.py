"""create_app(): the one place where the parts meet."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cache
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute

from engines.fleet.fleet import Fleet
from engines.host.garbage import freeze_garbage
from engines.joined.nodes import JoinedNodes
from engines.registry.registry import Registry
from server.accounts.auth import KeyRing
from server.api.admin.gate import AdminGate
from server.api.admin.invoices import add_invoice_routes
from server.api.admin.me import add_me_route
from server.api.admin.router import admin_router, opened
from server.api.admin.served import add_served_routes
from server.api.admin.terms import Terms
from server.api.assembly import assembled
from server.api.endpoint import KeyedEndpoint
from server.api.exposure import speaks_console, speaks_ollama
from server.api.joined.link import joined_paths
from server.api.openapi.docs import Documentation
from server.api.openapi.document import DESCRIPTION, VERSION, completed
from server.api.openapi.route import DescribedRoute
from server.api.operations import OPERATIONS
from server.api.peer.mounted import peer_paths
from server.api.registry_file import Read, RegistryFileReader, add_registry_route
from server.api.services import Services
from server.api.unrouted import api_error, http_error, rendered, unexpected_error
from server.console.mounted import console_routes
from server.console.session import Sessions
from server.errors import ApiError
from server.http.asgi import App, Receive, Scope, Send
from server.http.connection import connection_state
from server.http.head_answer import answer_head
from server.http.host_header import check_host
from server.http.recent_requests import RecentRequests
from server.http.request_log import RequestLog, answer_headers, line_of
from server.http.web_pages import WebPages
from server.ledger.ledger import Ledger
from server.settings import Settings
from server.tracing.facts import Traces


class FjordApp(FastAPI):
    """FastAPI, with the request path of answers taken past its middleware: a wrapped `send` costs a
    hop a streamed chunk."""

    services: Services
    registry_file: RegistryFileReader
    hot: Mapping[str, App]
    """path -> what answers there. The same routes are in the router, which describes them."""

    ops: RequestLog | None = None
    """What answers on the operators' port; None: they have none of their own."""

    pages: WebPages | None = None
    """None: whatever page a request comes from, its key decides."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        answer = _answer_to_headers(self.pages, scope)
        if answer is not None:
            await answer(scope, receive, send)
            return
        if scope["method"] == "HEAD":
            await answer_head(self._answer, scope, receive, send)
        else:
            await self._answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = self.hot.get(scope["path"])
        if endpoint is not None:
            line_of(scope).route = scope["path"]
            await endpoint(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            self.openapi_schema = completed(super().openapi(), self.routes)
        return self.openapi_schema


def create_app(
    settings: Settings,
    registry: Registry,
    fleet: Fleet,
    ledger: Ledger,
    ring: KeyRing,
    *,
    node: str = "",
    operator_token: str = "",
    node_token: str = "",
    joined: JoinedNodes | None = None,
    read_registry: Read | None = None,
    traces: Traces | None = None,
    sessions: Sessions | None = None,
) -> RequestLog:
    """The ASGI application; its lifespan starts and stops ledger, fleet and supervisor.
    `operator_token` opens the admin API beside admin keys; empty: nothing does. Machines join
    `joined` with the `node_token`; empty: none may. `read_registry`
    reads the registry again; None: there is no file. `traces` takes each request that has ended.
    `sessions`: who has signed in to the console; None: as its books say."""
    nodes = JoinedNodes() if joined is None else joined
    nodes.takes_nodes = bool(node_token)
    services = assembled(settings, registry, fleet, ledger, ring, node, traces, nodes)
    registry_file = RegistryFileReader(services, read_registry)
    reserved = ledger.budgets.reservations
    terms = Terms(lambda: services.registry.names, registry.currency, reserved)
    admin = admin_router(ledger.open_books, terms)
    add_me_route(admin, opened(ledger.open_books), services)
    add_invoice_routes(admin, opened(ledger.open_books), services)
    add_registry_route(admin, registry_file)
    recent = RecentRequests()
    add_served_routes(admin, services, recent, ring)
    routes = described_routes(services)
    app = ops = _app_of(services, [*routes, *admin.routes])  # to include it would describe it anew
    documents = Documentation(app.openapi).routes()
    if settings.ops_port is None:
        app.router.routes.extend(documents)
    else:  # what was made so far is described, and serves nothing
        app = _app_of(services, [route for route in routes if "api" in route.ports])
        of_ops = [route for route in routes if "ops" in route.ports]
        ops = _app_of(services, [*of_ops, *admin.routes, *documents])
        app.ops = RequestLog(ops, traces)
    app.hot = {**app.hot, **peer_paths(services), **joined_paths(nodes, node_token)}
    logged = RequestLog(app, traces, recent.add)
    if speaks_console(settings):
        ops.router.routes.extend(console_routes(ops, logged, services, sessions))
    counted = services.metrics.answered
    ops.add_middleware(AdminGate, ring=ring, answered=counted, token=operator_token)
    app.registry_file = registry_file
    return logged


def _app_of(services: Services, routes: Sequence[BaseRoute]) -> FjordApp:
    app = FjordApp(
        title="Fjord",
        version=VERSION,
        description=DESCRIPTION,
        servers=[{"url": "/"}],
        lifespan=_lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    app.services = services
    settings = services.settings
    if settings.no_auth or settings.cors_origin:
        app.pages = WebPages(settings.cors_origin, is_open=settings.no_auth)
    described = [route for route in routes if isinstance(route, DescribedRoute)]
    app.hot = {route.path: route.app for route in described if route.is_hot}
    app.router.routes.extend(routes)
    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(ApiError, api_error)
    app.add_exception_handler(Exception, unexpected_error)
    return app


def described_routes(services: Services) -> list[DescribedRoute]:
    """A route for every path of every operation; the paths of one share one endpoint."""
    routes = []
    for operation, descriptions in zip(OPERATIONS, _descriptions(), strict=True):
        if operation.tag == "ollama" and not speaks_ollama(services.settings):
            continue
        endpoint = operation.build(services, operation.tag)
        if isinstance(endpoint, KeyedEndpoint):
            endpoint.form = operation.form
        routes += [description.answered_by(endpoint) for description in descriptions]
    return routes


@cache
def _descriptions() -> tuple[tuple[DescribedRoute, ...], ...]:
    """The same for every server of this process, as it takes 100 ms: of each operation by path."""
    return tuple(tuple(DescribedRoute(path, o) for path in o.paths) for o in OPERATIONS)


@asynccontextmanager
async def _lifespan(app: FjordApp) -> AsyncIterator[Mapping[str, Any]]:
    services = app.services
    async with AsyncExitStack() as stack:
        if services.traces is not None:
            await services.traces.start()
            stack.push_async_callback(services.traces.stop)
        await services.ledger.start(services)
        stack.push_async_callback(services.ledger.stop)
        await services.site_node.start()
        stack.push_async_callback(services.site_node.stop)
        await services.keyed.start()
        stack.push_async_callback(services.keyed.stop)
        stack.callback(services.long_bodies.close)
        stack.push_async_callback(asyncio.to_thread, services.pictures.close)
        await services.joined.start()
        stack.push_async_callback(services.joined.stop)
        await services.fleet.start()
        stack.push_async_callback(services.fleet.stop)
        await services.supervisor.start()
        stack.push_async_callback(services.supervisor.stop)
        await services.batches.start()
        stack.push_async_callback(services.batches.stop)
        if services.memory is not None:
            await services.memory.start()
            stack.push_async_callback(services.memory.stop)
            await services.recorder.start()
            stack.push_async_callback(services.recorder.stop)
            stack.push_async_callback(services.background.stop)
        freeze_garbage()
        yield connection_state(services.settings.send_timeout_s)
        if (
            not services.supervisor.draining
        ):  # a signal's drain is over: who still runs has had its time
            await services.supervisor.drain(services.settings.drain_timeout_s)


def _answer_to_headers(pages: WebPages | None, scope: Scope) -> Response | None:
    try:
        check_host(scope)
        permission = None if pages is None else pages.preflight(scope)
    except ApiError as refusal:
        return rendered(Request(scope), refusal)
    if permission is None:
        return None
    line_of(scope).status = 204
    answer = Response(status_code=204)
    answer.raw_headers[:] = [*answer_headers(scope)[:1], *permission]
    return answer
