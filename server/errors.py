"""The one error table and body: every failure a client can see is made here."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias, cast

import msgspec

from engines.base import (
    ContextLengthExceeded,
    EngineBroken,
    EngineDead,
    EngineError,
    EngineHung,
    EngineLoadTimeout,
    EngineNotLoaded,
    EngineOverloaded,
    EngineUnavailable,
    InvalidRequest,
    RequestKillsEngines,
)
from server.accounts.auth import AuthFailed, NotPermitted
from server.accounts.limits import ConcurrencyLimited, LimitExceeded
from server.error_body import Error, ErrorDetails, ErrorMembers
from server.ledger.errors import BudgetExceeded, LedgerUnavailable

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    404: "invalid_request_error",
    405: "invalid_request_error",
    409: "invalid_request_error",
    413: "invalid_request_error",
    415: "invalid_request_error",
    422: "invalid_request_error",
    431: "invalid_request_error",
    429: "rate_limit_error",
}

_EXPECTED = "what the model and its engine can do"
"""Of a request that an engine refuses without saying what it would take."""

_PASSING = (408, 409, 429)
_ASK_NO_MORE = {"X-Should-Retry": "false"}
"""OpenAI's clients ask again after any other 500, and would end two more engines."""


class ApiError(Exception):
    """An error as the client sees it: status, code, message, and what helps to mend it."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        param: str | None = None,
        details: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message: str = _short(message, 600)
        self.param: str | None = _short(param, 100)
        self.details = details and {name: _short(value, 200) for name, value in details.items()}
        self.headers = dict(headers or {})

    @classmethod
    def invalid(
        cls, message: str, field: str | None = None, provided: Any = None, expected: str = ""
    ) -> "ApiError":
        """400 INVALID_PARAMETER with the documented details {field, provided, expected}."""
        details = {"field": field, "provided": provided, "expected": expected}
        return cls(400, "INVALID_PARAMETER", message, param=field, details=details)

    @classmethod
    def retry(cls, status: int, code: str, message: str, after_s: float) -> "ApiError":
        """An error worth trying again after `after_s` seconds (rounded up, at least 1)."""
        return cls(status, code, message, headers={"Retry-After": str(max(1, -int(-after_s // 1)))})

    @property
    def type(self) -> str:
        """OpenAI's error type for the status."""
        return _TYPES.get(self.status, "server_error")

    def rename(self, names: Mapping[str, str]) -> None:
        """Say it of another API's fields: `names` are ours -> theirs."""
        theirs = names.get(self.param or "")
        if self.param is None or theirs is None:
            return
        self.message = self.message.replace(self.param, theirs)
        if self.details and self.details.get("field") == self.param:
            self.details = {**self.details, "field": theirs}
        self.param = theirs

    @property
    def facts(self) -> dict[str, str]:
        """For the request's log line: code and field, nothing of what was sent in it."""
        field = {} if self.param is None else {"field": self.param[:128]}
        return {"code": self.code, **field}

    def body(self) -> Error:
        """The one body of every error: the service's members, OpenAI's, and the SDK's `detail`."""
        error: ErrorMembers = {
            "code": self.code,
            "message": self.message,
            "type": self.type,
            "param": self.param,
        }
        if self.details is not None:
            error["details"] = cast(ErrorDetails, dict(self.details))
        return {"error": error, "detail": self.message}

    def encoded(self) -> bytes:
        """The body as JSON bytes."""
        return msgspec.json.encode(self.body())


ErrorForm: TypeAlias = Callable[[ApiError, str], bytes]
"""An error, the request's id -> the body of another API's form."""


class OtherForm(NamedTuple):
    """How another API than the service's says what all of its answers have."""

    error: ErrorForm
    error_body: Any
    """The type of such an error."""
    id_header: bytes | None = None
    """The header that names the request there, beside X-Request-Id."""
    overloaded: int = 503
    """The status of what is a 503 here."""
    is_told_what_is_final: bool = False
    """Whether its clients ask again after any refusal that does not say it is final."""

    def status(self, error: ApiError) -> int:
        """As its clients know it."""
        return self.overloaded if error.status == 503 else error.status

    def headers(self, error: ApiError) -> Mapping[str, str]:
        """Those that go with an error."""
        is_final = 400 <= error.status < 500 and error.status not in _PASSING
        return _ASK_NO_MORE if self.is_told_what_is_final and is_final else {}


class ToldError(NamedTuple):
    """An error as it goes out."""

    status: int
    headers: dict[str, str]
    body: bytes


def told(error: ApiError, form: OtherForm | None, request_id: str) -> ToldError:
    """In the form of another API, or as the service's own."""
    if form is None:
        return ToldError(error.status, error.headers, error.encoded())
    headers = {**error.headers, **form.headers(error)}
    return ToldError(form.status(error), headers, form.error(error, request_id))


class FormBroken(ApiError):
    """An answer came to its own end without the form it was held to: nobody may take it for one.
    `form` is what it was held to, in a word."""

    def __init__(self, form: str) -> None:
        what = f"The answer ended without the form that was asked for ({form})."
        super().__init__(500, "INTERNAL_ERROR", f"{what} It is not to be used; ask again.")
        self.form = form


def _short(part: Any, most: int) -> Any:
    """A text of at most `most` characters: whatever a client sent, it does not all come back. Half
    a character (a lone surrogate) can be written in no JSON."""
    if isinstance(part, str) and not part.isascii():
        part = part.encode("utf-8", "replace").decode()
    if isinstance(part, str) and len(part) > most:
        return part[: most - 1] + "…"
    return part


def brief(value: Any) -> Any:
    """The offending value as it goes back: scalars as they are, the rest as a word."""
    if isinstance(value, str):
        return value if len(value) <= 80 else value[:77] + "…"
    if isinstance(value, float) and (value != value or abs(value) == float("inf")):
        return str(value)
    if isinstance(value, int) and abs(value) >= 2**63:
        return "a huge integer"
    if value is None or isinstance(value, bool | int | float):
        return value
    return "an object" if isinstance(value, dict) else "an array"


def internal_error() -> ApiError:
    """What a client hears of a bug of ours; the text stays in the log under the request id."""
    return ApiError(500, "INTERNAL_ERROR", "Internal error. The request id names it in the log.")


def not_found(path: str) -> ApiError:
    """404 for a path that is none of ours."""
    return ApiError(404, "NOT_FOUND", f"Unknown path: {path}.")


def method_not_allowed(method: str, methods: Iterable[str]) -> ApiError:
    """405 with the Allow header; whoever may GET may HEAD, which the server cuts the body of."""
    names = {*methods}
    allowed = ", ".join(sorted(names | {"HEAD"} if "GET" in names else names)) or "another method"
    message = f"Method {method} is not allowed here; allowed: {allowed}."
    return ApiError(405, "METHOD_NOT_ALLOWED", message, headers={"Allow": allowed})


def to_api_error(exc: BaseException) -> ApiError:
    """The one table from engine errors to the wire. Anything unknown is INTERNAL_ERROR."""
    match exc:
        case ApiError():
            return exc
        case AuthFailed():
            challenge = {"WWW-Authenticate": 'Bearer realm="fjord"'}
            return ApiError(401, "AUTH_FAILED", str(exc), headers=challenge)
        case NotPermitted():
            return ApiError(403, "INSUFFICIENT_PERMISSIONS", str(exc))
        case LimitExceeded():
            return _limit_error(exc)
        case BudgetExceeded():
            return ApiError(402, "BUDGET_EXCEEDED", str(exc), details={"level": exc.level})
        case LedgerUnavailable():
            message = "Usage cannot be recorded now; the server's log says why."
            return ApiError.retry(503, "OVERLOADED", message, exc.retry_after_s)
        case ContextLengthExceeded():
            return _context_error(exc)
        case InvalidRequest():
            expected = exc.expected or _EXPECTED
            return ApiError.invalid(str(exc), exc.param, exc.provided, expected)
        case EngineOverloaded():
            error = ApiError.retry(503, "OVERLOADED", str(exc), exc.retry_after_s)
            error.details = exc.facts
            return error
        case EngineLoadTimeout():
            error = ApiError.retry(503, "MODEL_LOAD_TIMEOUT", str(exc), exc.retry_after_s)
            error.details = exc.facts
            return error
        case EngineBroken() | EngineNotLoaded():
            return ApiError(503, "MODEL_UNAVAILABLE", str(exc))
        case EngineUnavailable():
            return ApiError.retry(503, "MODEL_UNAVAILABLE", str(exc), exc.retry_after_s)
        case RequestKillsEngines():
            return ApiError(500, "INTERNAL_ERROR", str(exc), headers=_ASK_NO_MORE)
        case EngineDead() | EngineHung() | EngineError():
            message = "The model's engine failed during this request and is being restarted."
            return ApiError.retry(503, "MODEL_UNAVAILABLE", message, 15)
        case _:
            return internal_error()


def _limit_error(exc: LimitExceeded) -> ApiError:
    is_concurrency = isinstance(exc, ConcurrencyLimited)
    code = "CONCURRENCY_LIMIT_EXCEEDED" if is_concurrency else "RATE_LIMIT_EXCEEDED"
    headers = {k.decode(): v.decode() for k, v in exc.headers}
    return ApiError(429, code, str(exc), details={"level": exc.level}, headers=headers)


def _context_error(exc: ContextLengthExceeded) -> ApiError:
    details = {
        "prompt_tokens": exc.prompt_tokens,
        "max_tokens": exc.max_tokens,
        "context_tokens": exc.context_tokens,
    }
    return ApiError(400, "CONTEXT_LENGTH_EXCEEDED", str(exc), param=exc.param, details=details)
