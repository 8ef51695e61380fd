"""A route of the admin API: failures leave as the one error body, and are described so."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from server.accounts.allowance_wire import KeyDoesNotFit
from server.accounts.principal import PRINCIPAL
from server.api.admin.authority import check_authority, operation, told_of
from server.api.openapi.errors import error_refs
from server.errors import ApiError, brief, to_api_error
from server.http.request_log import line_of
from server.ledger.errors import LedgerUnavailable, TenantConflict, TenantNotFound
from server.ledger.troubles import is_of_database

ERRORS = (400, 401, 403, 404, 405, 413, 500, 503)

log = logging.getLogger("fjord.api")


class AdminRoute(APIRoute):
    """Failures leave as the one error body, whatever raised them, and are described so."""

    def __init__(self, path: str, *args: Any, **options: Any) -> None:
        described = {"openapi_extra": {"responses": error_refs(ERRORS)}}
        super().__init__(path, *args, **options | described)
        whom = f"For {told_of(self._operation())}."
        self.description = "\n\n".join(filter(None, (self.description, whom)))

    def _operation(self) -> str:
        [method] = self.methods
        return operation(method, self.path)

    def get_route_handler(self) -> Callable[[Request], Any]:
        handle, asked = super().get_route_handler(), self._operation()

        async def answer(request: Request) -> Response:
            try:
                check_authority(request.scope[PRINCIPAL], asked)
                return await handle(request)
            except Exception as error:
                raise explained(error, line_of(request.scope).request_id) from error

        return answer


def explained(error: Exception, request_id: str) -> ApiError:
    """The error as it goes out; one that nobody foresaw goes to the log as well."""
    if isinstance(error, TenantNotFound):
        return ApiError(404, "NOT_FOUND", brief(str(error)))
    if isinstance(error, RequestValidationError):
        return _wrong_field(error.errors()[0])
    if isinstance(error, HTTPException):  # a body that FastAPI could not parse
        return ApiError.invalid(f"{error.detail}.", None, None, "a JSON object")
    if isinstance(error, KeyDoesNotFit):
        return ApiError.invalid(f"{error}.", None, None, str(error))
    if isinstance(error, TenantConflict):
        return ApiError.invalid(str(error), None, None, str(error))
    if is_of_database(error):
        out = to_api_error(LedgerUnavailable(str(error)))
    else:
        out = to_api_error(error)
    if out.status >= 500:
        is_foreseen = out.code != "INTERNAL_ERROR"
        log.error("request %s: %s", request_id, error, exc_info=None if is_foreseen else error)
    return out


def _wrong_field(wrong: Mapping[str, Any]) -> ApiError:
    name = brief(".".join(str(part) for part in wrong["loc"][1:]))
    message = f"{name or 'body'}: {wrong['msg']}."
    return ApiError.invalid(message, name or None, brief(wrong.get("input")), wrong["msg"])
