"""An exchange without a connection: its body came otherwise, and its answer is kept."""

from typing import Any

from server.http.exchange import Exchange
from server.http.request_log import LINE, RequestLine


class ClientlessExchange(Exchange):
    """Nothing is read from it; whoever makes one takes its answer, and says when it leaves."""

    __slots__ = ()

    def __init__(self, request_id: str) -> None:
        scope = {"headers": [], LINE: RequestLine(request_id)}
        super().__init__(scope, _no_message, _no_send, request_id)


async def _no_message() -> Any:
    raise AssertionError("its body is there already")


async def _no_send(_: Any) -> None:
    raise AssertionError("its answer is kept")
