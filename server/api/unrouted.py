"""Errors of requests that no endpoint took, in the form of the API whose path was asked for."""

from fastapi import Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.routing import Match, Route

from server.api.operations import form_at
from server.errors import ApiError, brief, internal_error, method_not_allowed, not_found, told
from server.http.request_log import answer_headers, line_of


async def http_error(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)
    path = request.url.path
    if exc.status_code == 405:
        return rendered(request, method_not_allowed(request.method, _allowed(request)))
    if exc.status_code == 404:
        return rendered(request, not_found(brief(path)))
    error = ApiError(exc.status_code, "INVALID_PARAMETER", str(exc.detail))
    return rendered(request, error)


async def api_error(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, ApiError)
    return rendered(request, exc)


async def unexpected_error(request: Request, exc: Exception) -> Response:
    return rendered(request, internal_error())


def rendered(request: Request, error: ApiError) -> Response:
    line = line_of(request.scope)
    line.code = error.code
    line.note(**error.facts)
    form = form_at(request.scope["path"])
    status, headers, body = told(error, form, line.request_id)
    answer = Response(body, status, headers, "application/json")
    if form is not None and form.id_header is not None:
        answer.raw_headers.append((form.id_header, line.request_id.encode()))
    line.status = status
    answer.raw_headers += answer_headers(request.scope)
    return answer


def _allowed(request: Request) -> set[str]:
    methods: set[str] = set()
    for route in request.app.router.routes:
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE:
            methods |= route.methods or set()
    return methods
