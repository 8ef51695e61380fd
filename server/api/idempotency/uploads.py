"""Uploads take no key: each form has a boundary of its own, so that nobody could say whether one
came again without keeping its file."""

from server.api.idempotency.errors import FIELD
from server.api.idempotency.keyed_requests import HEADER
from server.errors import ApiError
from server.http.exchange import Exchange


async def refuse_key(exchange: Exchange) -> None:
    """Raises ApiError 400 where the request brings one."""
    if exchange.header(HEADER) is None:
        return
    await exchange.skip_body()
    message = f"{FIELD} is not taken with an upload, where two forms of one file differ."
    raise ApiError.invalid(message, FIELD, None, "nothing: leave it out")
