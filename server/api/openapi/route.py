"""A route that FastAPI describes and does not run: an ASGI endpoint answers it."""

import json
from copy import copy
from inspect import Parameter, Signature
from typing import Any, Final, Self

from fastapi import Body, Security
from fastapi.responses import JSONResponse, PlainTextResponse
from fastapi.routing import APIRoute
from fastapi.security import APIKeyHeader, HTTPBearer

from server.api.endpoint import Endpoint
from server.api.idempotency.errors import FIELD
from server.api.openapi.errors import error_refs, other_errors
from server.api.openapi.operation import Operation
from server.idempotency.entry import MOST_KEY

REF = "#/components/schemas/{model}"
_KEY = [
    Security(APIKeyHeader(name="X-API-Key", scheme_name="X-API-Key", auto_error=False)),
    Security(HTTPBearer(scheme_name="Bearer", auto_error=False)),
]

KEY_PARAMETER: Final[dict[str, Any]] = {
    "name": FIELD,
    "in": "header",
    "required": False,
    "description": "The same key and body get the first answer again, and one record, for a day",
    "schema": {"type": "string", "minLength": 1, "maxLength": MOST_KEY},
}


class DescribedRoute(APIRoute):
    """`operation` under one of its paths. FastAPI reads the signature and the models; no request
    goes through its validation."""

    def __init__(self, path: str, operation: Operation) -> None:
        super().__init__(
            path.replace("{model}", "{model:path}"),  # an alias may have a slash
            _stub(operation, path),
            methods=[operation.method],
            name=operation.tag,
            operation_id=operation.method + path.translate(str.maketrans("/{}", "___")),
            summary=operation.summary,
            description=operation.description,
            tags=[operation.tag],
            dependencies=_KEY if operation.needs_key else [],
            response_model=operation.answer,
            response_class=PlainTextResponse if operation.answer is None else JSONResponse,
            response_description="OK",
            responses=_responses(operation, path),
            openapi_extra=_extra(operation, path),
        )
        self.types = (operation.event, operation.line, operation.form and operation.form.error_body)
        self.ports = operation.ports
        # Of what is kept a path may have several methods, which the router tells apart.
        is_apart = operation.tag in ("files", "batches", "conversations")
        self.is_hot = operation.needs_key and not self.param_convertors and not is_apart

    def answered_by(self, endpoint: Endpoint) -> Self:
        route = copy(self)
        route.app = endpoint
        return route


def _stub(operation: Operation, path: str) -> Any:
    """A function with the operation's signature: what FastAPI looks at."""

    async def described(**_: Any) -> None:
        raise AssertionError("described only: its route's `app` answers")

    parameters = []
    for name in operation.path_parameters:
        parameters.append(Parameter(name, Parameter.KEYWORD_ONLY, annotation=str))
    if operation.body is not None:
        parameters.append(Parameter("body", Parameter.KEYWORD_ONLY, **_body(operation)))
    described.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    return described


def _body(operation: Operation) -> dict[str, Any]:
    examples: Any = {name: {"value": body} for name, body in operation.requests.items()}
    return {"annotation": operation.body, "default": Body(openapi_examples=examples)}


def _responses(operation: Operation, path: str) -> dict[int | str, dict[str, Any]]:
    answer: dict[str, Any] = {"headers": _headers(operation), "content": {}}
    if operation.example is not None:
        answer["content"]["application/json"] = {"example": operation.example}
    if operation.event is not None:
        answer["content"]["text/event-stream"] = {"schema": _event(operation.event)}
    if operation.line is not None:
        name = operation.line.__name__
        answer["content"]["application/x-ndjson"] = {"schema": {"$ref": REF.format(model=name)}}
    if path == "/":
        answer["content"]["text/html"] = {"schema": {"type": "string"}}
    if path == "/ready":
        not_ready = {"model": operation.answer, "description": "Not ready"}
        return {200: answer, 503: not_ready | {"headers": _headers(operation)}}
    if operation.media_type != "text/plain":
        answer["content"] = {operation.media_type: {"schema": {"type": "string"}}}
    return {200: answer}


def _headers(operation: Operation) -> dict[str, Any]:
    names = {"X-Request-Id": "string"}
    if operation.needs_key:
        names |= {f"X-RateLimit-{what}": "integer" for what in ("Limit", "Remaining", "Reset")}
    if operation.takes_key:
        names["Idempotency-Replayed"] = "boolean"
    return {name: {"schema": {"type": kind}} for name, kind in names.items()}


def _event(model: type) -> dict[str, Any]:
    """One server-sent event: a stream is many."""
    payload = {
        "type": "string",
        "contentMediaType": "application/json",
        "contentSchema": {"$ref": REF.format(model=model.__name__)},
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


def _extra(operation: Operation, path: str) -> dict[str, Any]:
    extra: dict[str, Any] = {
        "responses": _errors(operation),
        "x-codeSamples": [{"lang": "Shell", "source": curl(operation, path)}],
    }
    if operation.raw_body is not None:
        extra["requestBody"] = operation.raw_body
    parameters = [
        {"name": name, "in": "query", "required": False, "schema": {"type": kind}}
        for name, kind in operation.query.items()
    ]
    parameters += [KEY_PARAMETER] if operation.takes_key else []
    if parameters:
        extra["parameters"] = parameters
    return extra if operation.needs_key else extra | {"security": []}


def _errors(operation: Operation) -> dict[str, Any]:
    if operation.form is None:
        return error_refs(operation.errors)
    schema = {"$ref": REF.format(model=operation.form.error_body.__name__)}
    return other_errors(operation.errors, schema)


def curl(operation: Operation, path: str) -> str:
    """The operation as a person tries it."""
    lines = [f"curl $FJORD_URL{path.replace('{model}', 'mixtral-8x7b')}"]
    if operation.needs_key:
        lines.append('-H "X-API-Key: $FJORD_KEY"')
    if operation.requests:
        body = json.dumps(next(iter(operation.requests.values())), indent=2, ensure_ascii=False)
        lines += ['-H "Content-Type: application/json"', f"-d '{body}'"]
    return " \\\n  ".join(lines)
