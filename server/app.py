"""create_app(): the one place where the parts meet."""

import gc
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.routing import Match, Route

from engines.fleet.fleet import Fleet
from engines.registry.registry import Registry
from server.accounts.auth import KeyRing
from server.accounts.limits import Limiter
from server.api.admin import admin_router
from server.api.chat.build import build_chat
from server.api.chat.wire import CHAT
from server.api.completions import COMPLETIONS, build_completion
from server.api.embeddings import EMBEDDINGS, Embeddings
from server.api.endpoint import Endpoint
from server.api.generation import Generation
from server.api.models import ModelList, OneModel
from server.api.openapi.document import Documentation
from server.api.ops import ops_routes
from server.api.responses.build import build_response
from server.api.responses.wire import RESPONSES
from server.api.services import Services
from server.api.tokenize import TOKENIZE, Tokenize
from server.errors import ApiError, internal_error, method_not_allowed, not_found
from server.http.asgi import Receive, Scope, Send
from server.http.connection import connection_state
from server.http.request_log import RequestLog, line_of
from server.ledger.ledger import Ledger
from server.metrics import Metrics
from server.requests.supervisor import Supervisor
from server.settings import Settings

CHAT_PATHS = ("/v1/llm/chat", "/v1/llm/chat/completions", "/v1/chat/completions")
EMBEDDING_PATHS = ("/v1/llm/embeddings", "/v1/embeddings")
MODEL_PATHS = ("/v1/llm/models", "/v1/models")


_YOUNG = 10_000
"""New objects between two looks at the young ones: a request makes some thousand, nearly all of
them gone before."""


class FjordApp(FastAPI):
    """FastAPI, with the request path of answers taken past its middleware: a wrapped `send` costs a
    hop a streamed chunk."""

    services: Services
    hot: Mapping[str, Endpoint]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = self.hot.get(scope.get("path", ""))
        if endpoint is not None and scope["type"] == "http":
            await endpoint(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


def create_app(
    settings: Settings,
    registry: Registry,
    fleet: Fleet,
    ledger: Ledger,
    ring: KeyRing,
    *,
    node: str = "",
) -> RequestLog:
    """The ASGI application; its lifespan starts and stops ledger, fleet and watch."""
    supervisor = Supervisor()
    services = Services(
        settings=settings,
        registry=registry,
        fleet=fleet,
        ledger=ledger,
        ring=ring,
        limiter=Limiter(
            requests_per_minute=settings.requests_per_minute,
            burst=settings.burst,
            concurrent=settings.concurrent,
            slot_s=settings.request_timeout_s,
        ),
        metrics=Metrics(registry.models, fleet.statuses, supervisor.requests),
        supervisor=supervisor,
        node=node,
    )
    app = FjordApp(
        title="Fjord",
        description="The WAYSCloud LLM API, self-hosted.",
        lifespan=_lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    app.services = services
    chat = Generation(services, "chat", CHAT, build_chat)
    models = ModelList(services)
    app.hot = {
        **dict.fromkeys(CHAT_PATHS, chat),
        **dict.fromkeys(MODEL_PATHS, models),
        "/v1/completions": Generation(services, "completions", COMPLETIONS, build_completion),
        "/v1/responses": Generation(services, "responses", RESPONSES, build_response),
        **dict.fromkeys(EMBEDDING_PATHS, Embeddings(services, "embeddings", EMBEDDINGS)),
        "/v1/tokenize": Tokenize(services, "tokenize", TOKENIZE),
    }
    one_model = OneModel(services)
    for path in MODEL_PATHS:
        app.router.routes.append(Route(path + "/{alias:path}", one_model))
    app.router.routes.extend(ops_routes(fleet, services.metrics, lambda: _refusals(services)))
    app.include_router(admin_router(ring, ledger.open_books))
    app.router.routes.extend(Documentation(lambda: app.router.routes).routes())
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(Exception, _internal_error)
    return RequestLog(app)


def freeze_garbage() -> None:
    """What is loaded by now stays: collections that walk it (100 ms and more with an engine's
    library) would show as gaps between tokens. Called at the start and after every load."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, 20, 20)


@asynccontextmanager
async def _lifespan(app: FjordApp) -> AsyncIterator[Mapping[str, Any]]:
    services = app.services
    async with AsyncExitStack() as stack:
        await services.ledger.start(on_keys=services.ring.replace)
        stack.push_async_callback(services.ledger.stop)
        await services.fleet.start()
        stack.push_async_callback(services.fleet.stop)
        await services.supervisor.start()
        stack.push_async_callback(services.supervisor.stop)
        freeze_garbage()
        yield connection_state(services.settings.send_timeout_s)
        if (
            not services.supervisor.draining
        ):  # a signal's drain is over: who still runs has had its time
            await services.supervisor.drain(services.settings.drain_timeout_s)


def _refusals(services: Services) -> dict[str, str]:
    out = {}
    if reason := services.ledger.health():
        out["ledger"] = reason
    if services.supervisor.draining:
        out["drain"] = "the server is shutting down"
    return out


async def _http_error(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)
    path = request.url.path
    if exc.status_code == 405:
        return _rendered(request, method_not_allowed(request.method, _allowed(request)))
    if exc.status_code == 404:
        return _rendered(request, not_found(path))
    error = ApiError(exc.status_code, "INVALID_PARAMETER", str(exc.detail))
    return _rendered(request, error)


async def _api_error(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, ApiError)
    return _rendered(request, exc)


async def _internal_error(request: Request, exc: Exception) -> Response:
    return _rendered(request, internal_error())


def _rendered(request: Request, error: ApiError) -> Response:
    line = line_of(request.scope)
    line.status = error.status
    headers = {"X-Request-Id": line.request_id, **error.headers}
    return Response(error.encoded(), error.status, headers, "application/json")


def _allowed(request: Request) -> str:
    methods: set[str] = set()
    for route in request.app.router.routes:
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE:
            methods |= route.methods or set()
    return ", ".join(sorted(methods)) or "another method"
