"""The error table as /openapi.json tells it: one answer a status, with an example each."""

from typing import Any

from server.errors import ApiError

_RETRY = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds"}}
_REQUEST_ID = {"X-Request-Id": {"schema": {"type": "string"}}}


def error_responses() -> dict[str, Any]:
    """Status -> an OpenAPI response."""
    return {str(status): _response(status, text, errors) for status, text, errors in _TABLE}


def _response(status: int, description: str, errors: list[ApiError]) -> dict[str, Any]:
    headers = _REQUEST_ID | (_RETRY if status in (429, 503) else {})
    if status == 401:
        headers = headers | {"WWW-Authenticate": {"schema": {"type": "string"}}}
    if status == 405:
        headers = headers | {"Allow": {"schema": {"type": "string"}}}
    examples = {error.code: {"value": error.body()} for error in errors}
    content = {"schema": {"$ref": "#/components/schemas/Error"}, "examples": examples}
    return {
        "description": description,
        "headers": headers,
        "content": {"application/json": content},
    }


def _context_exceeded() -> ApiError:
    return ApiError(
        400,
        "CONTEXT_LENGTH_EXCEEDED",
        "The prompt has 40000 tokens; the model's context is 32768 tokens.",
        param="messages",
        details={"prompt_tokens": 40000, "max_tokens": None, "context_tokens": 32768},
    )


_TABLE: tuple[tuple[int, str, list[ApiError]], ...] = (
    (
        400,
        "A field is missing, of the wrong type or out of range; or the context is too small",
        [
            ApiError.invalid(
                "Invalid value for temperature: 2.5; expected a number from 0 to 2.",
                "temperature",
                2.5,
                "a number from 0 to 2",
            ),
            _context_exceeded(),
        ],
    ),
    (
        401,
        "No key, or one that is unknown, revoked or expired",
        [ApiError(401, "AUTH_FAILED", "No API key was sent.")],
    ),
    (
        402,
        "The key's budget is spent",
        [ApiError(402, "BUDGET_EXCEEDED", "The key's budget is spent.")],
    ),
    (
        403,
        "A key of another service, or one that may not use this model",
        [ApiError(403, "INSUFFICIENT_PERMISSIONS", "The key may not use this model.")],
    ),
    (
        404,
        "Unknown model or path",
        [
            ApiError(404, "MODEL_NOT_FOUND", "Unknown model 'gpt-4'.", param="model"),
            ApiError(404, "NOT_FOUND", "Unknown path: /v2."),
        ],
    ),
    (
        405,
        "Another method is right; Allow says which",
        [ApiError(405, "METHOD_NOT_ALLOWED", "Method GET is not allowed here; allowed: POST.")],
    ),
    (
        413,
        "The body is too large",
        [ApiError(413, "REQUEST_TOO_LARGE", "The request body is larger than the limit.")],
    ),
    (
        415,
        "The body says that it is no JSON",
        [ApiError(415, "UNSUPPORTED_MEDIA_TYPE", "Expected application/json.")],
    ),
    (
        429,
        "Too many requests a minute, or at once",
        [
            ApiError(429, "RATE_LIMIT_EXCEEDED", "Too many requests a minute."),
            ApiError(429, "CONCURRENCY_LIMIT_EXCEEDED", "Too many requests at once."),
        ],
    ),
    (
        500,
        "A fault of the server; its log says more under the request id",
        [ApiError(500, "INTERNAL_ERROR", "Internal error. The request id names it in the log.")],
    ),
    (
        503,
        "It cannot be served now; Retry-After says when it may",
        [
            ApiError(503, "MODEL_UNAVAILABLE", "The model's engine is being restarted."),
            ApiError(503, "OVERLOADED", "Too many requests are running or waiting."),
            ApiError(503, "SHUTTING_DOWN", "The server is shutting down."),
        ],
    ),
    (
        504,
        "It took too long",
        [
            ApiError(504, "MODEL_LOAD_TIMEOUT", "The model did not become ready in time."),
            ApiError(504, "REQUEST_TIMEOUT", "The request ran past its deadline."),
        ],
    ),
)
