"""The API that programs use, as pages know it."""

from dataclasses import dataclass
from typing import Final

from starlette.requests import Request

from server.console.passing import PassedOn
from server.http.asgi import App

CHAT: Final = "/v1/chat/completions"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiDoor:
    """The server's API in this process."""

    app: App
    """With its log of requests."""
    port: int | None = None
    """Where it is on another port than the console."""
    told_url: str | None = None
    """Its address, where an operator has said it."""
    needs_key: bool = True

    def url(self, request: Request) -> str:
        """Under which a client reaches it, by what this one says: behind a proxy it is the
        proxy's only if that passes the Host on. Text from outside."""
        if self.told_url is not None:
            return self.told_url
        host = request.headers.get("host", "localhost")
        if self.port is not None:
            name, _, port = host.rpartition(":")
            host = f"{name if name and port.isdigit() else host}:{self.port}"
        return f"{request.url.scheme}://{host}"

    def chat(self) -> PassedOn:
        """The page's request, as one to chat completions."""
        return PassedOn(self.app, CHAT)
