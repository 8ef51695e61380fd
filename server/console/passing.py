"""An answer of another path of this process, passed on as it comes: streams stay streams."""

from collections.abc import Mapping
from typing import Any, Final

from starlette.responses import Response

from server.http.asgi import App, Receive, Scope, Send
from server.http.request_log import line_of

KEPT: Final = frozenset(
    {b"host", b"accept", b"authorization", b"content-type", b"content-length", b"transfer-encoding"}
)
"""Headers that go along. The session's cookie is nobody else's."""


class PassedOn(Response):
    """Method and body are those of the page's request, of which nothing may have been read."""

    def __init__(self, app: App, path: str, more: Mapping[str, Any] | None = None) -> None:
        """`more`: of the scope."""
        self._app, self._path, self._more = app, path, more or {}
        super().__init__()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(name, value) for name, value in scope["headers"] if name in KEPT]
        headers.append((b"x-request-id", line_of(scope).request_id.encode()))
        place = {"path": self._path, "raw_path": self._path.encode(), "query_string": b""}
        await self._app({**scope, **place, "headers": headers, **self._more}, receive, send)
