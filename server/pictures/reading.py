"""Given pictures -> pictures that were looked at: in threads, before any engine is asked."""

import binascii
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from engines.base import GenerateRequest
from engines.content import PICTURE, Picture, picture_parts
from engines.host.interpreter_turns import give_way
from engines.host.worker_threads import WorkerThreads
from engines.pictures.bounds import EXPECTED, MOST_BYTES, MOST_PIXELS_TOGETHER
from engines.pictures.looking import PictureLooker
from engines.pictures.opening import Unreadable
from server.errors import ApiError
from server.pictures.fetching import FetchRefused, PictureFetcher
from server.pictures.given import CheckedPicture

MOST_BYTES_TOGETHER = 2 * MOST_BYTES
"""Of all pictures of a request."""
_PIECE = 2**20

Read = Callable[[], Awaitable[None]]


class PictureReader:
    """One server's."""

    def __init__(self, hosts: Sequence[str] = (), *, is_offline: bool = False) -> None:
        self._looker = PictureLooker()
        self._threads = WorkerThreads(1, "pictures", in_short_turns=True)
        self._fetch = PictureFetcher(hosts, is_offline=is_offline)

    def read_first(self, requests: Sequence[GenerateRequest]) -> Read | None:
        """What reads the pictures of these, in their place; None: there are none. It raises
        ApiError 400, EngineOverloaded."""
        parts = [part for r in requests for part in picture_parts(r.messages or ())]
        return partial(self._read, parts) if parts else None

    def close(self) -> None:
        """Blocks until nothing of it is left. Idempotent."""
        self._looker.close()
        self._threads.close()

    async def _read(self, parts: Sequence[dict[str, Any]]) -> None:
        room, pixels = MOST_BYTES_TOGETHER, MOST_PIXELS_TOGETHER
        for part in parts:
            picture = await self._picture(part[PICTURE], room, pixels)
            room -= len(picture.data)
            pixels -= picture.width * picture.height
            part[PICTURE] = picture

    async def _picture(self, given: CheckedPicture, room: int, pixels: int) -> Picture:
        fetched = await self._fetched(given)
        try:
            return await self._threads(self._looked_at, given, fetched, room, pixels)
        except Unreadable as error:
            raise _unreadable(given.field, str(error)) from None

    async def _fetched(self, given: CheckedPicture) -> bytes | None:
        if given.address is None:
            return None
        try:
            return await self._fetch(given.address)
        except FetchRefused as error:
            field = given.field
            message = f"{field}: the picture {error}."
            raise ApiError.invalid(message, field, None, error.expected) from None

    def _looked_at(
        self, given: CheckedPicture, fetched: bytes | None, room: int, pixels: int
    ) -> Picture:
        """`room`: bytes, and `pixels`, that the pictures before it have left."""
        data = _decoded(given.base64 or "") if fetched is None else fetched
        if len(data) > room:
            right = f"at most {MOST_BYTES_TOGETHER} bytes of pictures in a request"
            raise Unreadable(f"is one too many; right would be {right}")
        return self._looker(data, is_low=given.is_low, room=pixels)


def _decoded(text: str) -> bytes:
    """Raises Unreadable."""
    if "\n" in text or " " in text:  # some write it in lines
        text = "".join(text.split())
    if len(text) > MOST_BYTES * 4 // 3 + 4:
        raise Unreadable(f"is too large; right would be at most {MOST_BYTES} bytes")
    if not text:
        raise Unreadable(f"is empty; right would be {EXPECTED}")
    pieces = []
    try:
        for begin in range(0, len(text), _PIECE):
            piece = text[begin : begin + _PIECE]
            pieces.append(binascii.a2b_base64(piece, strict_mode=True))
            give_way()
    except ValueError:  # binascii's own is one, and that of text that is not ASCII
        raise Unreadable("is no base64; right would be letters, digits, +, / and = alone") from None
    return b"".join(pieces)


def _unreadable(field: str, why: str) -> ApiError:
    _, _, right = why.partition("right would be ")
    return ApiError.invalid(f"{field}: the picture {why}.", field, None, right or EXPECTED)
