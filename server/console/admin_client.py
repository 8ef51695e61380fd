"""Asks the admin API in this process, as the person who has signed in."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import httpx
from starlette.responses import Response

from server.accounts.principal import PRINCIPAL, STILL_THERE, Principal, StillThere
from server.console.passing import PassedOn
from server.http.asgi import App, Receive, Scope, Send
from server.http.request_log import LINE

Params: TypeAlias = Mapping[str, str | int | float | bool | Sequence[str] | None]


class AdminRefusal(Exception):
    """What the admin API answered instead; its message is fit for the page."""

    def __init__(self, status: int, error: Mapping[str, Any]) -> None:
        super().__init__(str(error.get("message", "")))
        self.status = status
        self.code = str(error.get("code", ""))
        self.details: Mapping[str, Any] = error.get("details") or {}


class AdminClient:
    """For one request of a page. Paths are those behind /admin/v1."""

    def __init__(self, app: App, principal: Principal, scope: Scope) -> None:
        """`scope`: the page's request, whose log line and client's address count."""
        self._app = app
        self._principal = principal
        self._scope = scope

    async def get(self, path: str, params: Params | None = None) -> Any:
        """The answer's JSON. Raises AdminRefusal."""
        return (await self.send("GET", path, params=params)).json()

    async def change(
        self, method: str, path: str, body: Any = None, params: Params | None = None
    ) -> Any:
        """The answer's JSON. Raises AdminRefusal."""
        return (await self.send(method, path, body, params)).json()

    async def send(
        self, method: str, path: str, body: Any = None, params: Params | None = None
    ) -> httpx.Response:
        """The whole answer, whatever it is of. Raises AdminRefusal."""
        asked = {name: value for name, value in (params or {}).items() if value not in (None, "")}
        client = (self._scope.get("client") or ("", 0))[:2]
        transport = httpx.ASGITransport(self._as_person, client=(str(client[0]), int(client[1])))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
            answer = await http.request(method, f"/admin/v1{path}", json=body, params=asked)
        if answer.is_error:
            raise AdminRefusal(answer.status_code, answer.json().get("error", {}))
        return answer

    def passed_on(self, path: str, still_there: StillThere) -> Response:
        """The whole answer as it comes, to the page's own request; also one that is refused."""
        said = {PRINCIPAL: self._principal, STILL_THERE: still_there}
        return PassedOn(self._app, f"/admin/v1{path}", said)

    async def _as_person(self, scope: Scope, receive: Receive, send: Send) -> None:
        said = {PRINCIPAL: self._principal, LINE: self._scope[LINE]}
        await self._app({**scope, **said, "state": self._scope.get("state", {})}, receive, send)
