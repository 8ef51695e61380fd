"""What is under /console and is no page: a page that says so."""

from collections.abc import Sequence
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route

from server.console.pages import Pages
from server.console.session import Sessions
from server.errors import ApiError, brief, method_not_allowed, not_found
from server.ledger.errors import LedgerUnavailable

PATH: Final = "/console/{rest:path}"
_HEADINGS: Final = {404: "Not found", 405: "Not that way"}


def no_page(pages: Pages, sessions: Sessions, known: Sequence[Route]) -> Route:
    """The last route; `known`: those before it."""

    async def answer(request: Request) -> Response:
        try:
            signed_in = await sessions.find(request)
        except LedgerUnavailable:
            signed_in = None
        refusal = _refusal(request, known)
        heading, message = _HEADINGS[refusal.status], refusal.message
        said = {"heading": heading, "message": message}
        shown = pages.page(request, "problem.html", signed_in, refusal.status, **said)
        shown.headers.update(refusal.headers)
        return shown

    route = Route(PATH, answer)
    route.methods = None  # any
    return route


def _refusal(request: Request, known: Sequence[Route]) -> ApiError:
    methods = set[str]()
    for route in known:
        if route.matches(request.scope)[0] is not Match.NONE:
            methods |= route.methods or set()
    if methods:
        return method_not_allowed(request.method, methods)
    return not_found(brief(request.url.path))
