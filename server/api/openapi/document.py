"""/openapi.json and /docs: the whole contract for programs and people, without a network."""

import asyncio
import importlib.util
import json
from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.routing import BaseRoute, Route

from server.api.openapi import answers
from server.api.openapi.errors import error_responses
from server.api.openapi.operations import OPERATIONS, Operation
from server.errors import ApiError, not_found

VERSION = "1"
"""The contract's, as in its paths."""
_REF = "#/components/schemas/{model}"
_DESCRIPTION = """The WAYSCloud LLM API, served by Fjord on your own GPUs.

Every request under `/v1/` carries a key, as `X-API-Key: <key>` (recommended) or as
`Authorization: Bearer <key>`; where both arrive, X-API-Key counts. Every error has one body
(`Error`). A key has 1000 requests a minute, with a burst of 100 more, and 50 at once, unless its
site says otherwise."""
_SECURITY = {
    "X-API-Key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "Bearer": {"type": "http", "scheme": "bearer"},
}
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
    """The document of one server; made when it is first asked for (some 50 ms)."""

    def __init__(self, routes: Callable[[], Iterable[BaseRoute]]) -> None:
        self._routes = routes
        """The application's routes: FastAPI's own among them describe themselves."""

    @cached_property
    def encoded(self) -> bytes:
        return json.dumps(self.document(), ensure_ascii=False).encode()

    def document(self) -> dict[str, Any]:
        """OpenAPI 3.1."""
        described = get_openapi(
            title="Fjord",
            version=VERSION,
            description=_DESCRIPTION,
            routes=[r for r in self._routes() if isinstance(r, APIRoute)],
        )
        paths = _own_paths() | {p: _as_ours(item) for p, item in described["paths"].items()}
        parts = described.get("components", {})
        schemas = _schemas() | parts.get("schemas", {})
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)  # our own error body stands in their place
        components = {
            "schemas": schemas,
            "securitySchemes": _SECURITY | parts.get("securitySchemes", {}),
            "responses": error_responses(),
        }
        return described | {"servers": [{"url": "/"}], "paths": paths, "components": components}

    def routes(self) -> list[Route]:
        """GET /openapi.json, /docs and its assets; no key needed."""

        async def document(request: Request) -> Response:
            body = await asyncio.to_thread(lambda: self.encoded)
            return Response(body, media_type="application/json")

        async def page(request: Request) -> Response:
            return HTMLResponse(_PAGE)

        async def asset(request: Request) -> Response:
            name = request.path_params["name"]
            if name not in _ASSETS:
                raise not_found(request.url.path)
            headers = {"Cache-Control": "max-age=86400"}
            return FileResponse(_assets_folder() / name, 200, headers, media_type=_ASSETS[name])

        return [
            Route("/openapi.json", document, methods=["GET"]),
            Route("/docs", page, methods=["GET"]),
            Route("/docs/{name}", asset, methods=["GET"]),
        ]


def _assets_folder() -> Path:
    """fastapi-offline carries Swagger UI's files; of the package we want nothing else."""
    spec = importlib.util.find_spec("fastapi_offline")
    if spec is None or spec.origin is None:
        message = "The package fastapi-offline, which carries this page's files, is not installed."
        raise ApiError(404, "NOT_FOUND", message)
    return Path(spec.origin).parent / "static"


def _schemas() -> dict[str, Any]:
    models: list[type[BaseModel]] = [answers.Error]
    for operation in OPERATIONS:
        models += [m for m in (operation.body, operation.answer, operation.event) if m is not None]
    wanted = [(model, "validation") for model in dict.fromkeys(models)]
    _, found = models_json_schema(wanted, ref_template=_REF)  # type: ignore[arg-type]
    schemas: dict[str, Any] = found["$defs"]
    return schemas


def _own_paths() -> dict[str, Any]:
    return {
        path: {operation.method: _told(operation, path)}
        for operation in OPERATIONS
        for path in operation.paths
    }


def _told(operation: Operation, path: str) -> dict[str, Any]:
    told: dict[str, Any] = {
        "operationId": operation.method + path.translate(str.maketrans("/{}", "___")),
        "summary": operation.summary,
        "description": operation.description,
        "tags": [operation.tag],
        "security": [{name: []} for name in _SECURITY] if operation.needs_key else [],
        "responses": {"200": _answer(operation)}
        | {str(s): {"$ref": f"#/components/responses/{s}"} for s in operation.errors},
        "x-codeSamples": [{"lang": "Shell", "source": curl(operation, path)}],
    }
    if path == "/ready":
        told["responses"]["503"] = _answer(operation) | {"description": "Not ready"}
    if "{model}" in path:
        told["parameters"] = [
            {"name": "model", "in": "path", "required": True, "schema": {"type": "string"}}
        ]
    if operation.body is not None:
        content: dict[str, Any] = {"schema": _ref(operation.body)}
        content["examples"] = {name: {"value": body} for name, body in operation.requests.items()}
        told["requestBody"] = {"required": True, "content": {"application/json": content}}
    return told


def _answer(operation: Operation) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": "OK", "headers": _headers(operation)}
    if operation.answer is None:
        return answer | {"content": {"text/plain": {"schema": {"type": "string"}}}}
    whole: dict[str, Any] = {"schema": _ref(operation.answer)}
    if operation.example is not None:
        whole["example"] = operation.example
    answer["content"] = {"application/json": whole}
    if operation.event is not None:
        answer["content"]["text/event-stream"] = {"schema": _event(operation.event)}
    return answer


def _event(model: type[BaseModel]) -> dict[str, Any]:
    """One server-sent event: a stream is many."""
    payload = {
        "type": "string",
        "contentMediaType": "application/json",
        "contentSchema": _ref(model),
    }
    return {
        "type": "object",
        "description": "Each event of the stream",
        "properties": {
            "event": {"type": "string"},
            "data": {"description": "JSON, or [DONE]", "anyOf": [{"const": "[DONE]"}, payload]},
        },
        "required": ["data"],
    }


def _headers(operation: Operation) -> dict[str, Any]:
    names = {"X-Request-Id": "string"}
    if operation.needs_key:
        for what in ("Limit", "Remaining", "Reset"):
            names[f"X-RateLimit-{what}"] = "integer"
    return {name: {"schema": {"type": kind}} for name, kind in names.items()}


def _ref(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": _REF.format(model=model.__name__)}


def curl(operation: Operation, path: str) -> str:
    """The operation as a person tries it."""
    lines = [f"curl $FJORD_URL{path.replace('{model}', 'mixtral-8x7b')}"]
    if operation.needs_key:
        lines.append('-H "X-API-Key: $FJORD_KEY"')
    if operation.requests:
        body = json.dumps(next(iter(operation.requests.values())), indent=2, ensure_ascii=False)
        lines += ['-H "Content-Type: application/json"', f"-d '{body}'"]
    return " \\\n  ".join(lines)


def _as_ours(item: dict[str, Any]) -> dict[str, Any]:
    """A path that FastAPI described: our errors in place of its own."""
    for operation in item.values():
        operation["responses"].pop("422", None)
        for status in (400, 401, 403, 404, 500):
            operation["responses"][str(status)] = {"$ref": f"#/components/responses/{status}"}
    return item
