"""The error table as /openapi.json tells it: one answer a status, with an example each."""

from collections.abc import Iterable
from typing import Any

from engines.base import ContextLengthExceeded, EngineLoadTimeout
from server.api.idempotency.errors import no_answer, other_body, still_running
from server.errors import ApiError, internal_error, method_not_allowed, not_found, to_api_error

_INTEGER = {"schema": {"type": "integer"}}
_STRING = {"schema": {"type": "string"}}
_RETRY = {"Retry-After": _INTEGER | {"description": "Seconds"}}
_HEADERS: dict[int, dict[str, Any]] = {
    401: {"WWW-Authenticate": _STRING},
    405: {"Allow": _STRING},
    409: _RETRY,
    429: _RETRY,
    503: _RETRY,
}
_MEANINGS = {
    400: "A field is missing, of the wrong type or out of range; or the context is too small",
    401: "No key, or one that is unknown, revoked or expired",
    402: "The key's budget is spent",
    403: "A key of another service, or one that may not use this model",
    404: "Unknown model or path",
    405: "Another method is right; Allow says which",
    409: "The answer to the first request with this Idempotency-Key is not kept, or not there yet",
    413: "The body is too large",
    415: "The body says that it is no JSON",
    422: "This Idempotency-Key came with another body",
    429: "Too many requests a minute, or at once",
    500: "A fault of the server; its log says more under the request id",
    503: "It cannot be served now; Retry-After says when it may",
    504: "It took too long",
}
_RANGE = "a number from 0 to 2"
_TOO_HOT = f"Invalid value for temperature: 2.5; expected {_RANGE}."
_TOO_LONG = str(ContextLengthExceeded(40000, None, 32768))
_TOKENS = {"prompt_tokens": 40000, "max_tokens": None, "context_tokens": 32768}
_TOO_LATE = "Model mixtral-8x7b did not become ready within 600 s; its engine is fetching."
_LOADING: dict[str, str | int | None] = {
    "state": "fetching",
    "percent": 41,
    "position": 1,
    "eta_s": 870,
}
_EXAMPLES = (
    ApiError.invalid(_TOO_HOT, "temperature", 2.5, _RANGE),
    ApiError(400, "CONTEXT_LENGTH_EXCEEDED", _TOO_LONG, param="messages", details=_TOKENS),
    ApiError(401, "AUTH_FAILED", "No API key was sent."),
    ApiError(402, "BUDGET_EXCEEDED", "The key's budget is spent."),
    ApiError(403, "INSUFFICIENT_PERMISSIONS", "The key may not use this model."),
    ApiError(404, "MODEL_NOT_FOUND", "Unknown model 'gpt-4'.", param="model"),
    not_found("/v2"),
    method_not_allowed("GET", ["POST"]),
    no_answer(),
    still_running(),
    ApiError(413, "REQUEST_TOO_LARGE", "The request body is larger than the limit."),
    ApiError(415, "UNSUPPORTED_MEDIA_TYPE", "Expected application/json."),
    other_body(),
    ApiError(429, "RATE_LIMIT_EXCEEDED", "Too many requests a minute."),
    ApiError(429, "CONCURRENCY_LIMIT_EXCEEDED", "Too many requests at once."),
    internal_error(),
    ApiError(503, "MODEL_UNAVAILABLE", "The model's engine is being restarted."),
    to_api_error(EngineLoadTimeout(_TOO_LATE, facts=_LOADING)),
    ApiError(503, "OVERLOADED", "Too many requests are running or waiting."),
    ApiError(503, "SHUTTING_DOWN", "The server is shutting down."),
    ApiError(504, "REQUEST_TIMEOUT", "The request ran past its deadline."),
)


def error_responses() -> dict[str, Any]:
    """Status -> an OpenAPI response."""
    return {str(status): _response(status) for status in _MEANINGS}


def error_refs(statuses: Iterable[int]) -> dict[str, Any]:
    """An operation's errors, as references to `error_responses`."""
    return {str(status): {"$ref": f"#/components/responses/{status}"} for status in statuses}


def other_errors(statuses: Iterable[int], schema: dict[str, Any]) -> dict[str, Any]:
    """As `error_refs`, of an operation whose errors have a body of their own."""
    return {
        str(status): {
            "description": _MEANINGS[status],
            "headers": {"X-Request-Id": _STRING} | _HEADERS.get(status, {}),
            "content": {"application/json": {"schema": schema}},
        }
        for status in statuses
    }


def _response(status: int) -> dict[str, Any]:
    examples = {e.code: {"value": e.body()} for e in _EXAMPLES if e.status == status}
    content = {"schema": {"$ref": "#/components/schemas/Error"}, "examples": examples}
    return {
        "description": _MEANINGS[status],
        "headers": {"X-Request-Id": _STRING} | _HEADERS.get(status, {}),
        "content": {"application/json": content},
    }
