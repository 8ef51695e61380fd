"""GET /openapi.json and /docs: the whole contract for programs and people, without a network."""

import importlib.util
import json
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.routing import Route

from engines.host.interpreter_turns import in_short_turns
from server.errors import ApiError, not_found

_ASSETS = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css"}
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Fjord API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="api"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script>
SwaggerUIBundle({url: "openapi.json", dom_id: "#api", deepLinking: true, validatorUrl: null,
  persistAuthorization: false, defaultModelsExpandDepth: 0});
</script>
</body>
</html>
"""


class Documentation:
    """The document of one server; made when it is first asked for (0.7 s of a worker thread)."""

    def __init__(self, openapi: Callable[[], dict[str, Any]]) -> None:
        self._openapi = openapi

    @cached_property
    def encoded(self) -> bytes:
        return json.dumps(self._openapi(), ensure_ascii=False).encode()

    async def document(self, request: Request) -> Response:
        body = await in_short_turns(lambda: self.encoded)
        return Response(body, media_type="application/json")

    async def page(self, request: Request) -> Response:
        return HTMLResponse(_PAGE)

    async def asset(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in _ASSETS:
            raise not_found(request.url.path)
        headers = {"Cache-Control": "max-age=86400"}
        return FileResponse(_assets_folder() / name, 200, headers, media_type=_ASSETS[name])

    def routes(self) -> list[Route]:
        """No key needed."""
        return [
            Route("/openapi.json", self.document, methods=["GET"]),
            Route("/docs", self.page, methods=["GET"]),
            Route("/docs/{name}", self.asset, methods=["GET"]),
        ]


def _assets_folder() -> Path:
    """fastapi-offline carries Swagger UI's files; of the package we want nothing else."""
    spec = importlib.util.find_spec("fastapi_offline")
    if spec is None or spec.origin is None:
        message = "The package fastapi-offline, which carries this page's files, is not installed."
        raise ApiError(404, "NOT_FOUND", message)
    return Path(spec.origin).parent / "static"
