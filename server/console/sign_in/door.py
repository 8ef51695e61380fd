"""What the pages of the door share."""

import secrets
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from server.console.pages import Pages
from server.console.session import SignedIn
from server.console.sign_in.book_sessions import BookSessions
from server.console.sign_in.cookies import DOOR, SESSION
from server.console.small_forms import BadForm, form_of, word_of
from server.http.asgi import Scope
from server.ledger.actors import Actor
from server.ledger.database import Database
from server.ledger.errors import LedgerUnavailable
from server.ledger.password_store import hash_of_token
from server.ledger.session_store import SessionStore
from server.sign_in.passwords import PasswordsBusy

HOME = "/console"
STALE = "This page was open for too long, or in two windows. Please try once more."
AWAY = "The books cannot be reached just now, so nobody can sign in. The server's log says why."

BUSY = "Too many people sign in at this moment. Please try again in a few seconds."

DoorHandler: TypeAlias = Callable[[Request], Awaitable[Response]]


class Door:
    """Pages of people who have not signed in; their forms carry a token of their own cookie."""

    def __init__(self, sessions: BookSessions, pages: Pages) -> None:
        self.sessions = sessions
        self._pages = pages

    def answering(self, handler: DoorHandler) -> DoorHandler:
        async def answer(request: Request) -> Response:
            try:
                return await handler(request)
            except BadForm as wrong:
                return self._problem(request, wrong.status, str(wrong))
            except LedgerUnavailable:
                return self._problem(request, 503, AWAY)
            except PasswordsBusy:
                return self._problem(request, 503, BUSY)

        return answer

    def _problem(self, request: Request, status: int, message: str) -> Response:
        heading = "That did not work"
        return self._pages.page(
            request, "problem.html", None, status, heading=heading, message=message
        )

    async def page(
        self, request: Request, template: str, status: int = 200, **context: Any
    ) -> Response:
        cookies = await self.sessions.cookies()
        value = cookies.read(request, DOOR) or secrets.token_urlsafe(24)
        token = cookies.form_token(value)
        answer = self._pages.page(request, template, None, status, token=token, **context)
        cookies.set(request, answer, DOOR, value)
        return answer

    def own_page(
        self,
        request: Request,
        signed_in: SignedIn,
        template: str,
        status: int = 200,
        **context: Any,
    ) -> Response:
        return self._pages.page(request, template, signed_in, status, **context)

    async def form(self, request: Request) -> FormData:
        """Of a page of ours. Raises BadForm."""
        form = await form_of(request)
        cookies = await self.sessions.cookies()
        if not cookies.is_form_token(cookies.read(request, DOOR), word_of(form, "csrf")):
            raise BadForm(STALE, 403)
        return form

    async def let_in(
        self, request: Request, member_id: str, how: str, target: str = HOME
    ) -> Response:
        """With a session under a new token; the one that this browser had ends."""
        token = secrets.token_urlsafe(32)
        actor, agent = actor_of(request.scope, member_id), request.headers.get("user-agent", "")
        former = await self.sessions.own_id(request)

        def begin(books: Database) -> None:
            store = SessionStore(books)
            if (row := store.find(former)) is not None:
                store.end(former, row.member_id)
            store.begin(hash_of_token(token), member_id, how, actor.address, agent)

        await self.sessions.ask(actor, begin)
        answer = RedirectResponse(target, 303, {"Cache-Control": "no-store"})
        cookies = await self.sessions.cookies()
        cookies.set(request, answer, SESSION, token)
        cookies.drop(request, answer, DOOR)
        return answer


def address_of(scope: Scope) -> str:
    return str((scope.get("client") or ("",))[0] or "")


def actor_of(scope: Scope, member_id: str) -> Actor:
    return Actor(kind="member", name=member_id, address=address_of(scope))


def inside(target: str) -> str:
    """`target` where it is a path of the console, else its first page."""
    is_ours = target == HOME or target.startswith((f"{HOME}/", f"{HOME}?"))
    is_plain = target.isprintable() and target.isascii() and "\\" not in target
    path = target.partition("?")[0]
    return target if is_ours and is_plain and "//" not in path and ".." not in path else HOME
