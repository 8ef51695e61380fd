"""Who may ask, and what is said where it cannot be done."""

import asyncio
import logging
import time
from typing import Any, Generic, TypeVar

import msgspec

from engines.base import EngineError, EngineOverloaded, EngineUnavailable
from engines.fleet.fleet import Lease
from engines.registry.spec import ModelSpec
from server.api.peer.counted import PeerMetrics
from server.api.services import Services
from server.errors import ApiError, method_not_allowed, to_api_error
from server.http.asgi import Receive, Scope, Send
from server.http.exchange import ClientLeft, Exchange
from server.http.request_log import TraceHeaders, line_of
from server.ids import new_id
from server.peers.directory import Directory
from server.peers.errors import told_error
from server.peers.wire import MOST_FRAME, PROTOCOL, Asker, decoder, encode

log = logging.getLogger("fjord.peers")

MEDIA = b"application/msgpack"

C = TypeVar("C")


class PeerDoor:
    """What all that answers here shares."""

    def __init__(self, services: Services, metrics: PeerMetrics) -> None:
        self.services, self.metrics = services, metrics
        self.directory = Directory(services.ledger.open_books)

    async def check(self, exchange: Exchange) -> None:
        """Raises ApiError 401, 426, EngineUnavailable."""
        given = (exchange.header(b"authorization") or b"").decode("latin-1")
        kind, _, password = given.partition(" ")
        if kind != "Bearer" or not await self.directory.is_password(password):
            raise ApiError(401, "AUTH_FAILED", "Servers of this site alone may ask here.")
        if exchange.header(b"x-fjord-peer") != str(PROTOCOL).encode():
            message = f"This server is asked in version {PROTOCOL} of its servers' protocol."
            raise ApiError(426, "UPGRADE_REQUIRED", message)

    def model(self, alias: str) -> ModelSpec:
        """Whose engine stands here: what is asked of one server is never asked of a third. Raises
        EngineUnavailable, EngineOverloaded."""
        services = self.services
        if services.supervisor.draining:
            raise EngineOverloaded(f"The server {services.node} is shutting down.")
        spec = services.registry.models.get(alias)
        if spec is None or spec.peers:
            raise EngineUnavailable(f"The server {services.node} does not run {alias} itself.")
        return spec

    def check_queue(self, alias: str, owner: str) -> None:
        """Raises EngineOverloaded."""
        try:
            self.services.check_queue(alias, owner)
        except ApiError as error:
            raise EngineOverloaded(error.message, 2.0, error.details) from None

    def lease(self, alias: str, patience_s: float) -> Lease:
        return self.services.fleet.lease(alias, time.monotonic() + patience_s)


def trace_headers(asker: Asker) -> TraceHeaders:
    traceparent, tracestate = (text.encode("latin-1", "ignore") for text in asker.trace)
    return [traceparent] if traceparent else [], [tracestate] if tracestate else []


def own_name(request_id: str) -> str:
    """Of what an engine here does for a front's request: what comes again after a lost connection
    is not ended with what went before."""
    return f"{request_id}.{new_id(8)}"


class PeerQuestion(Generic[C]):
    """A question with one answer. The asker ends it by leaving."""

    kind: Any = None
    """Of its body; None: it has none."""

    def __init__(self, door: PeerDoor) -> None:
        self.door, self.services = door, door.services
        self._decoder = decoder(self.kind) if self.kind is not None else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        line = line_of(scope)
        exchange = Exchange(scope, receive, send, line.request_id)
        try:
            await self._answered(exchange)
        except ClientLeft:
            exchange.status = 499
        except Exception as error:
            await refuse(exchange, error)
        line.status, line.code = exchange.status, exchange.code

    async def _answered(self, exchange: Exchange) -> None:
        if exchange.scope["method"] != "POST":
            raise method_not_allowed(exchange.scope["method"], ["POST"])
        await self.door.check(exchange)
        await self.serve_admitted(exchange)

    async def serve_admitted(self, exchange: Exchange) -> None:
        """Answers. What it raises is told."""
        call = await self._call(exchange)
        if (asker := getattr(call, "asker", None)) is not None:
            line_of(exchange.scope).caller = trace_headers(asker)
        await self.serve(exchange, call)

    async def _call(self, exchange: Exchange) -> C:
        body = await exchange.body(MOST_FRAME)
        if self._decoder is None:
            return None  # type: ignore[return-value]
        try:
            call: C = self._decoder.decode(body)
        except (msgspec.DecodeError, msgspec.ValidationError, ValueError) as error:
            raise ApiError.invalid(f"What was asked is not understood: {error}", "body") from None
        return call

    async def serve(self, exchange: Exchange, call: C) -> None:
        task = asyncio.current_task()
        assert task is not None
        has_left = False

        def leave() -> None:
            nonlocal has_left
            has_left = True
            task.cancel()

        exchange.watch_disconnect(leave)
        try:
            answer = await self.answer(call)
        except asyncio.CancelledError:
            if not has_left:
                raise
            task.uncancel()
            raise ClientLeft from None
        finally:
            exchange.unwatch()
        await exchange.reply(200, encode(answer), MEDIA)

    async def answer(self, call: C) -> Any:
        """Raises EngineError."""
        raise NotImplementedError


async def refuse(exchange: Exchange, error: Exception) -> None:
    """An engine's error as itself, our own as everybody's."""
    if exchange.started:
        return
    if isinstance(error, EngineError):
        exchange.code = type(error).__name__
        await exchange.reply(400, encode(told_error(error)), MEDIA)
        return
    told = to_api_error(error)
    if told.code == "INTERNAL_ERROR":
        log.exception("request %s failed", exchange.request_id, exc_info=error)
        exchange.code = told.code
        await exchange.reply(400, encode(told_error(error)), MEDIA)
        return
    await exchange.fail(told)
