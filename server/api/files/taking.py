"""A form on its way: what its headers say, then its pieces, within a bound of all of it."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from server.api.files.multipart import UPLOAD, FileForm, FormKind, boundary_of
from server.errors import ApiError
from server.http.exchange import Exchange

PIECE_BYTES: Final = 256 * 1024


def admitted_boundary(
    exchange: Exchange, most_bytes: int, too_large: Callable[[], Exception], kind: FormKind = UPLOAD
) -> bytes:
    """Raises ApiError 415, 400, and `too_large()` by its Content-Length."""
    if exchange.header(b"content-encoding") is not None:
        message = "A form is taken as it is, without Content-Encoding."
        raise ApiError(415, "UNSUPPORTED_MEDIA_TYPE", message)
    length = exchange.header(b"content-length") or b""
    if length.isdigit() and int(length) > most_bytes:
        raise too_large()
    return boundary_of(exchange.header(b"content-type"), kind)


async def take(
    form: FileForm[Any], exchange: Exchange, most_bytes: int, too_large: Callable[[], Exception]
) -> None:
    """All of it, written as it comes. Raises `too_large()`, and what the form raises."""
    async for piece in exchange.body_in_pieces(PIECE_BYTES):
        most_bytes -= len(piece)
        if most_bytes < 0:
            raise too_large()
        await asyncio.to_thread(form.write, piece)
