"""Asks an issuer: no answer is larger, or takes longer, than it should."""

from collections.abc import AsyncIterator
from typing import Any, Final

import httpx

MOST_BYTES: Final = 256 * 1024
WAIT_S: Final = 5.0
WHOLE_S: Final = 10.0
"""Of one question, whatever its parts take."""


class IssuerUnavailable(Exception):
    """The issuer does not answer, or not as OpenID Connect has it. Fit for a page."""


TROUBLES: Final = (
    *(httpx.HTTPError, httpx.InvalidURL, TimeoutError, OSError),
    *(ValueError, RecursionError),  # no JSON, or deeper than Python reads
)
"""What a question may end with, beside IssuerUnavailable."""


class _BoundedStream(httpx.AsyncByteStream):
    def __init__(self, inner: httpx.AsyncByteStream) -> None:
        self._inner = inner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = MOST_BYTES
        async for part in self._inner:
            left -= len(part)
            if left < 0:
                raise IssuerUnavailable("The issuer's answer is too large.")
            yield part

    async def aclose(self) -> None:
        await self._inner.aclose()


class BoundedTransport(httpx.AsyncHTTPTransport):
    """Answers are never redirects, never packed, and end after 256 KiB."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        request.headers["accept-encoding"] = "identity"
        answer = await super().handle_async_request(request)
        if answer.is_redirect or answer.headers.get("content-encoding", "identity") != "identity":
            await answer.aclose()
            raise IssuerUnavailable("The issuer answered with a redirect, or packed.")
        assert isinstance(answer.stream, httpx.AsyncByteStream)
        return httpx.Response(
            answer.status_code,
            headers=answer.headers,
            stream=_BoundedStream(answer.stream),
            extensions=answer.extensions,
        )


def bounded_options() -> dict[str, Any]:
    """Of an httpx client that asks issuers."""
    return {"transport": BoundedTransport(), "timeout": WAIT_S, "follow_redirects": False}
