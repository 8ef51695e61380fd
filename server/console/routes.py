"""What answers under /console: who has not signed in is led to the door, and forms need their
session's token."""

import hmac
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeAlias
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from server.accounts.principal import StillThere
from server.console.admin_client import AdminClient, AdminRefusal
from server.console.api_door import ApiDoor
from server.console.assets import Assets
from server.console.forms.form import Form
from server.console.forms.sent_once import SentOnce
from server.console.pages import Pages
from server.console.session import Sessions, SignedIn
from server.console.small_forms import BadForm, form_of, word_of
from server.errors import ApiError
from server.http.asgi import App
from server.ledger.errors import LedgerUnavailable

SIGN_IN: Final = "/console/sign-in"
_READING: Final = frozenset({"GET", "HEAD"})

log = logging.getLogger("fjord.console")


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One request of a page by somebody who has signed in."""

    request: Request
    signed_in: SignedIn
    admin: AdminClient
    api: ApiDoor
    pages: Pages
    sent: SentOnce
    told_url: str | None
    """The console's address, where an operator has said it."""
    still_there: StillThere

    def page(self, template: str, status: int = 200, **context: object) -> Response:
        return self.pages.page(self.request, template, self.signed_in, status, **context)

    def to(self, path: str, done: str) -> Response:
        """After a form: a page, which says what was done."""
        return RedirectResponse(f"{path}?{urlencode({'done': done})}", 303)

    def is_first(self, form: Form) -> bool:
        """Whether this showing of the form was not sent before."""
        return self.sent.take(self.signed_in.csrf, form.once)

    def may_be_sent_again(self, form: Form) -> None:
        self.sent.give_back(self.signed_in.csrf, form.once)


PageHandler: TypeAlias = Callable[[Visit], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class PageRoute:
    """A page, or a form of one; `path` is under /console."""

    path: str
    handler: PageHandler
    methods: Sequence[str] = ("GET",)
    takes_form: bool = True
    """False: the body is the handler's to read, so that the token is in a header."""


class Console:
    """Makes routes of pages."""

    def __init__(
        self, admin: App, sessions: Sessions, api: ApiDoor, told_url: str | None = None
    ) -> None:
        """`admin`: the application with /admin/v1. `told_url`: the console's, as its operator has
        said it."""
        self._told_url = told_url
        self._admin = admin
        self._api = api
        self._sessions = sessions
        self.assets = Assets()
        self.pages = Pages(self.assets)
        self._sent = SentOnce()

    def routes(self, page_routes: Sequence[PageRoute]) -> list[Route]:
        made = [
            Route(f"/console{page.path}", self._answering(page), methods=page.methods)
            for page in page_routes
        ]
        return [self.assets.route(), *made]

    def _answering(self, page: PageRoute) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            try:
                signed_in = await self._sessions.find(request)
                if signed_in is None:
                    return _to_the_door(request)
                if not await _has_token(request, signed_in, page.takes_form):
                    return self._problem(request, signed_in, 403, _OUTDATED, _STALE)
            except BadForm as wrong:
                return self._problem(request, None, wrong.status, _HEADINGS[400], str(wrong))
            except LedgerUnavailable as away:
                return self._problem(request, None, 503, _HEADINGS[503], str(away))
            admin = AdminClient(self._admin, signed_in.principal, request.scope)
            visit = Visit(
                request=request,
                signed_in=signed_in,
                admin=admin,
                api=self._api,
                pages=self.pages,
                sent=self._sent,
                told_url=self._told_url,
                still_there=partial(self._is_still, request, signed_in),
            )
            try:
                return await page.handler(visit)
            except BadForm as wrong:
                return self._problem(request, signed_in, wrong.status, _HEADINGS[400], str(wrong))
            except (AdminRefusal, ApiError) as refusal:
                heading = _HEADINGS.get(refusal.status, "That did not work")
                return self._problem(request, signed_in, refusal.status, heading, str(refusal))

        return answer

    async def _is_still(self, request: Request, signed_in: SignedIn) -> bool:
        """Whose page it was when it was asked for."""
        try:
            return await self._sessions.find(request) == signed_in
        except LedgerUnavailable:
            return False

    def _problem(
        self, request: Request, signed_in: SignedIn | None, status: int, heading: str, message: str
    ) -> Response:
        return self.pages.page(
            request, "problem.html", signed_in, status, heading=heading, message=message
        )


_STALE: Final = "Nothing was changed. Load the page again, and send it once more."
_OUTDATED: Final = "This form is out of date"
_HEADINGS: Final = {
    400: "That did not work",
    403: "Not for your role",
    404: "Not found",
    503: "Not available just now",
}


def _to_the_door(request: Request) -> Response:
    """htmx would put the sign-in page into a corner of this one: it is told to leave it."""
    if request.headers.get("hx-request"):
        return Response(status_code=401, headers={"HX-Redirect": SIGN_IN})
    if request.method not in _READING:
        return RedirectResponse(SIGN_IN, 303)
    return RedirectResponse(f"{SIGN_IN}?{_next(request)}", 303)


def _next(request: Request) -> str:
    query = f"?{request.url.query}" if request.url.query else ""
    return urlencode({"next": f"{request.url.path}{query}"[:1000]})


async def _has_token(request: Request, signed_in: SignedIn, takes_form: bool) -> bool:
    """In its headers, or in its form. Raises BadForm."""
    if request.method in _READING:
        return True
    token = request.headers.get("x-csrf-token")
    if token is None:
        token = word_of(await form_of(request), "csrf") if takes_form else ""
    return hmac.compare_digest(token.encode(), signed_in.csrf.encode())
