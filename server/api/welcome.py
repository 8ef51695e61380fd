"""GET /: what runs here, and where its documentation is; for programs and for a browser."""

from typing import NotRequired

import msgspec
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import request_response
from typing_extensions import TypedDict

from server.api.endpoint import Endpoint
from server.api.services import Services


class Welcome(TypedDict):
    """What runs here, and paths of this port."""

    name: str
    description: str
    console: NotRequired[str]
    docs: NotRequired[str]
    openapi: NotRequired[str]
    models: NotRequired[str]
    chat: NotRequired[str]
    health: str
    ready: NotRequired[str]


_BODY: Welcome = {
    "name": "Fjord",
    "description": "The WAYSCloud LLM API, self-hosted.",
    "console": "/console",
    "docs": "/docs",
    "openapi": "/openapi.json",
    "models": "/v1/models",
    "chat": "/v1/chat/completions",
    "health": "/health",
    "ready": "/ready",
}
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Fjord</title>
<link rel="icon" href="data:,">
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:40em;margin:4em auto;padding:0 1em}
@media (prefers-color-scheme:dark){html{background:#14181c;color:#e8eaed}a{color:#8ab4f8}}</style>
</head>
<body>
<main>
<h1>Fjord</h1>
{lines}
</main>
</body>
</html>
"""
_LINES = {
    "/v1/chat/completions": """<p>The WAYSCloud LLM API, self-hosted, runs here. Its base URL is
this address with <code>/v1</code>; every request there carries a key in <code>X-API-Key</code> or
as a bearer token.</p>""",
    "/console": '<p><a href="console">Console</a>: what runs now, models, keys, usage</p>',
    "/docs": """<p><a href="docs">Documentation</a>, and <a href="openapi.json">the same for
programs</a></p>""",
    "/health": '<p><a href="health">Does it live?</a></p>',
    "/ready": '<p><a href="ready">Do its models serve?</a></p>',
}
"""What the page says of a path that is served."""
_VARY = {"Vary": "Accept"}


def welcome(services: Services, tag: str) -> Endpoint:
    """A page where text/html is asked for by name, JSON otherwise."""
    return request_response(_answer)


async def _answer(request: Request) -> Response:
    served = {getattr(route, "path", "") for route in request.app.routes}
    if "text/html" in request.headers.get("accept", "").lower():
        lines = "\n".join(line for path, line in _LINES.items() if path in served)
        return HTMLResponse(_PAGE.replace("{lines}", lines), headers=_VARY)
    body = {k: v for k, v in _BODY.items() if not str(v).startswith("/") or v in served}
    return Response(msgspec.json.encode(body), headers=_VARY, media_type="application/json")
