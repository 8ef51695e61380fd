"""In front of /admin/: the key first, then the body's size; only then is a byte of it parsed."""

import logging
from collections.abc import Iterable
from functools import partial
from typing import Protocol

from server.accounts.auth import AuthError, KeyRing, presented_key
from server.accounts.operator_token import OPERATOR, is_token
from server.accounts.principal import PRINCIPAL, STILL_THERE, Principal, principal_of
from server.errors import ApiError, to_api_error
from server.http.asgi import App, Message, Receive, Scope, Send
from server.http.exchange import ClientLeft, Exchange
from server.http.request_log import RequestLine, line_of

MOST_BODY_BYTES = 64 * 1024
_PREFIX = "/admin/"

log = logging.getLogger("fjord.api")


class Answered(Protocol):
    """Counts an answer."""

    def __call__(self, alias: str, endpoint: str, status: int) -> None: ...


class AdminGate:
    """ASGI middleware: nobody without an admin key or the operator's token gets past it, whatever
    the path under /admin/, and nothing larger than 64 KiB. The console, which has asked who it is
    itself, says so in the scope."""

    def __init__(self, app: App, ring: KeyRing, answered: Answered, token: str = "") -> None:
        self._app = app
        self._ring = ring
        self._answered = answered
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(_PREFIX):
            await self._app(scope, receive, send)
            return
        line = line_of(scope)
        exchange = Exchange(scope, receive, send, line.request_id)
        body = await self._admitted(exchange, line)
        if body is not None:
            await self._app(scope, _Replayed(body, receive), self._counting(send))

    async def _admitted(self, exchange: Exchange, line: RequestLine) -> bytes | None:
        """The request's body; None where the request was refused, or its client left."""
        try:
            scope = exchange.scope
            who = scope[PRINCIPAL] = scope.get(PRINCIPAL) or self._principal(scope["headers"])
            scope.setdefault(STILL_THERE, partial(self._is_still, who, scope["headers"]))
            line.note(**{"member" if who.kind == "member" else "key": who.name})
            _check_words(scope)
            return await exchange.body(MOST_BODY_BYTES)
        except ClientLeft:
            line.status = 499
        except Exception as exc:
            error = to_api_error(exc)
            if error.code == "INTERNAL_ERROR":
                log.exception("request %s failed", exchange.request_id, exc_info=exc)
            self._answered("", "admin", error.status)
            line.code = error.code
            await exchange.fail(error)
        return None

    def _principal(self, headers: Iterable[tuple[bytes, bytes]]) -> Principal:
        """Who it is. Raises AuthError."""
        if is_token(presented_key(headers), self._token):
            return Principal(kind="operator", name=OPERATOR)
        return principal_of(self._ring.admin_key(headers))

    async def _is_still(self, who: Principal, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        try:
            return self._principal(headers) == who
        except AuthError:
            return False

    def _counting(self, send: Send) -> Send:
        async def counting(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._answered("", "admin", message["status"])
            await send(message)

        return counting


def _check_words(scope: Scope) -> None:
    """Raises ApiError 400 for what no database keeps as a text."""
    if "\0" in scope["path"] or b"%00" in scope["query_string"] or b"\0" in scope["query_string"]:
        expected = "a path and a query without NUL"
        raise ApiError.invalid(
            f"NUL is part of no name; right would be {expected}.", None, None, expected
        )


class _Replayed:
    """A `receive` that has the whole body ready, and then waits for the client to leave."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def __call__(self) -> Message:
        if self._body is None:
            return await self._receive()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}
