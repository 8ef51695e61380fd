"""Errors in Anthropic's one form."""

from collections.abc import Mapping
from typing import Final

import msgspec

from server.api.messages.wire_answers import MessagesError
from server.error_body import Error
from server.errors import ApiError, OtherForm

ERROR_CODE: Final = "error_code"
"""The detail by which Anthropic's clients tell refusals that they mend by themselves."""
_TYPES: Final[Mapping[int, str]] = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}
_BY_CODE: Final[Mapping[str, int]] = {
    "REQUEST_TIMEOUT": 504,
    "OVERLOADED": 503,
    "SHUTTING_DOWN": 503,
    "MODEL_UNAVAILABLE": 503,
    "MODEL_LOAD_TIMEOUT": 503,
}
"""In the middle of a stream: the status that the error would have had."""


def type_of(status: int) -> str:
    """Anthropic's word for a status."""
    return _TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")


def error_body(error: ApiError, request_id: str) -> bytes:
    """A whole answer that is an error."""
    body = _body(type_of(error.status), _named(error), request_id)
    details = error.details or {}
    if ERROR_CODE in details:
        body["error"]["details"] = dict(details)
    return msgspec.json.encode(body)


def _named(error: ApiError) -> str:
    """The message, with the field that was wrong: there is no other place for it."""
    if error.param is None or error.param in error.message:
        return error.message
    return f"{error.param}: {error.message}"


def stream_error(body: Error, request_id: str) -> MessagesError:
    """The same in the middle of a stream."""
    error = body["error"]
    return _body(type_of(_BY_CODE.get(error["code"], 500)), error["message"], request_id)


def _body(kind: str, message: str, request_id: str) -> MessagesError:
    members = {"type": kind, "message": message}
    return {"type": "error", "error": members, "request_id": request_id}  # type: ignore[typeddict-item]


ANTHROPIC: Final = OtherForm(
    error=error_body,
    error_body=MessagesError,
    id_header=b"request-id",
    overloaded=529,
    is_told_what_is_final=True,
)
