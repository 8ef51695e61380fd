"""POST /internal/v1/join: a node sends its messages as the body, and hears the head's as the
answer, both for as long as it is joined."""

import asyncio
import contextlib
import ipaddress
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final

from engines.joined.node import JoinedNode, NodeLost, NodeOutbox
from engines.joined.nodes import JoinedNodes, NotLetIn
from engines.joined.wire import (
    BEAT_S,
    LOST_S,
    BadMessage,
    Bye,
    HeadBeat,
    Hello,
    MessageLines,
    from_node,
    line_of_message,
)
from server.accounts.auth import AuthFailed, presented_key
from server.accounts.operator_token import is_token
from server.errors import ApiError, method_not_allowed, to_api_error
from server.http.asgi import App, Receive, Scope, Send
from server.http.connection import connection_of
from server.http.exchange import ClientLeft, Exchange
from server.http.request_log import line_of

PATH: Final = "/internal/v1/join"
MESSAGES: Final = b"application/x-ndjson"
HELLO_S: Final = 10.0
_END_S: Final = 0.2
NO_TOKEN: Final = (
    "No node can join this server: it has no node token. Make one, for example with "
    "`openssl rand -hex 32 > node.token`, and give it to both: --node-token-file node.token, or "
    "FJORD_NODE_TOKEN."
)
_BEAT = line_of_message(HeadBeat())

log = logging.getLogger("fjord.nodes")


def joined_paths(nodes: JoinedNodes, token: str) -> Mapping[str, App]:
    """Where nodes join; `token` empty: none may."""
    return {PATH: NodeLink(nodes, token)}


class NodeLink:
    """An ASGI endpoint."""

    def __init__(self, nodes: JoinedNodes, token: str) -> None:
        self._nodes, self._token = nodes, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        line = line_of(scope)
        exchange = Exchange(scope, receive, send, line.request_id)
        try:
            if scope["method"] != "POST":
                raise method_not_allowed(scope["method"], ["POST"])
            self._check_token(scope)
            await self._joined(exchange)
        except ClientLeft:
            exchange.status = exchange.status or 499
        except Exception as exc:
            if exchange.started:
                log.warning("the link of a node ends: %s", exc)
                await _end(exchange)
            else:
                await _refuse(exchange, exc)
        line.status, line.code = exchange.status, exchange.code

    def _check_token(self, scope: Scope) -> None:
        if not self._token:
            raise ApiError(403, "INSUFFICIENT_PERMISSIONS", NO_TOKEN)
        presented = presented_key(scope["headers"])
        if presented is None or not is_token(presented, self._token):
            what = "no" if presented is None else "another"
            raise AuthFailed(f"It came with {what} node token; right would be this server's own.")

    async def _joined(self, exchange: Exchange) -> None:
        lines = _messages(exchange)
        hello = await _hello(lines)
        node, outbox = self._nodes.join(hello, *addresses_of(exchange.scope))
        log.info("node %s has joined from %s", node.name, node.address)
        try:
            await exchange.open_stream(media_type=MESSAGES)
            await self._linked(exchange, lines, node, outbox)
        finally:
            self._nodes.left(node, outbox)
            log.info("the link of node %s has ended", node.name)

    async def _linked(
        self, exchange: Exchange, lines: AsyncIterator[bytes], node: JoinedNode, outbox: NodeOutbox
    ) -> None:
        """Until either side ends it."""
        hearing = asyncio.ensure_future(self._hear(lines, node))
        sending = asyncio.ensure_future(_send(exchange, node, outbox))
        both = (hearing, sending)
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:  # the server ends
            await _end(exchange, line_of_message(Bye()))
            raise
        finally:
            for each in both:
                each.cancel()
            results = await asyncio.gather(*both, return_exceptions=True)
        _raise_first(results)
        await _end(exchange)

    async def _hear(self, lines: AsyncIterator[bytes], node: JoinedNode) -> None:
        async for line in lines:
            node.heard(from_node(line))
            self._nodes.heard_of(node)


async def _messages(exchange: Exchange) -> AsyncIterator[bytes]:
    """Each message as it comes; a link's body has no end, so it gets its time anew with each."""
    lines = MessageLines()
    async for piece in exchange.body_in_pieces(1):
        if (connection := connection_of(exchange.scope)) is not None:
            connection.body_goes_on()
        for line in lines.feed(piece):
            yield line


async def _hello(lines: AsyncIterator[bytes]) -> Hello:
    """Raises ApiError, BadMessage, ClientLeft."""
    try:
        async with asyncio.timeout(HELLO_S):
            said = from_node(await anext(lines))
    except (TimeoutError, StopAsyncIteration):
        raise BadMessage("it says nothing") from None
    if not isinstance(said, Hello):
        raise BadMessage("its first message is no hello")
    return said


async def _send(exchange: Exchange, node: JoinedNode, outbox: NodeOutbox) -> None:
    """What waits for it, or a beat where nothing does, until it has another connection."""
    while node.outbox is outbox:
        try:
            line = await asyncio.wait_for(outbox.lines.get(), BEAT_S)
        except TimeoutError:
            line = _BEAT
        async with asyncio.timeout(LOST_S):
            await exchange.write(line)


async def _end(exchange: Exchange, last: bytes = b"") -> None:
    """Whatever the node still sends."""
    with contextlib.suppress(Exception):
        async with asyncio.timeout(_END_S):
            await exchange.write(last, more=False)
    exchange.drop()


def _raise_first(results: Sequence[Any]) -> None:
    for result in results:
        if isinstance(result, TimeoutError):
            raise NodeLost("the node takes no more messages")
        if isinstance(result, Exception):
            raise result


def addresses_of(scope: Scope) -> tuple[str, str]:
    """The node's, and the head's by which it came; "": on a Unix socket."""
    client, server = scope.get("client"), scope.get("server")
    return (
        _plain_address(client[0]) if client else "",
        _plain_address(server[0]) if server else "",
    )


def _plain_address(address: str) -> str:
    """A server on `::` has IPv4's as `::ffff:10.0.0.1`, which no interface has."""
    with contextlib.suppress(ValueError):
        mapped = getattr(ipaddress.ip_address(address), "ipv4_mapped", None)
        return address if mapped is None else str(mapped)
    return address


async def _refuse(exchange: Exchange, exc: Exception) -> None:
    error = to_api_error(exc)
    if isinstance(exc, NotLetIn):
        error = ApiError(409 if exc.is_passing else 400, "INVALID_PARAMETER", str(exc))
    elif isinstance(exc, BadMessage):
        error = ApiError.invalid(f"This is no node: {exc}.", None, None, "a node's hello")
    if error.code == "INTERNAL_ERROR":
        log.exception("request %s failed", exchange.request_id, exc_info=exc)
    exchange.headers.append((b"connection", b"close"))
    await exchange.fail(error)
