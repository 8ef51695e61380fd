"""A name and a password, and the way out."""

import logging
import math
from collections.abc import Callable, Sequence

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from server.console.sign_in.cookies import SESSION
from server.console.sign_in.door import Door, actor_of, address_of, inside
from server.console.sign_in.known_browsers import guesser_of, make_known
from server.console.small_forms import BadForm, form_of, word_of
from server.ledger.password_store import PasswordStore, hash_of_token
from server.ledger.session_store import SessionStore
from server.sign_in.failed_tries import FailedTries
from server.sign_in.passwords import MOST, Passwords

log = logging.getLogger("fjord.console")

MOST_NAME = 320
WRONG = "No member has this name and this password."


class LocalSignIn:
    """/console/sign-in and /console/sign-out."""

    def __init__(
        self,
        door: Door,
        passwords: Passwords,
        issuers: Callable[[], Sequence[str]] = tuple,
        tries: FailedTries | None = None,
    ) -> None:
        """`issuers`: names of those that the page has a button for."""
        self._door = door
        self._passwords = passwords
        self._issuers = issuers
        self._tries = tries or FailedTries()

    def routes(self) -> list[Route]:
        show, take, leave = map(self._door.answering, (self._show, self._take, self._leave))
        return [
            Route("/console/sign-in", show, methods=["GET"]),
            Route("/console/sign-in", take, methods=["POST"]),
            Route("/console/sign-out", leave, methods=["POST"]),
        ]

    async def _show(self, request: Request) -> Response:
        target = inside(request.query_params.get("next", ""))
        if await self._door.sessions.find(request) is not None:
            return RedirectResponse(target, 303)
        return await self._page(request, target)

    async def _page(
        self, request: Request, target: str, status: int = 200, name: str = "", problem: str = ""
    ) -> Response:
        return await self._door.page(
            request,
            "sign_in.html",
            status,
            target=target,
            name=name,
            problem=problem,
            issuers=self._issuers(),
        )

    async def _take(self, request: Request) -> Response:
        form = await self._door.form(request)
        name, password = word_of(form, "name")[:MOST_NAME], str(form.get("password") or "")
        target, address = inside(word_of(form, "next")), address_of(request.scope)
        cookies = await self._door.sessions.cookies()
        guesser = guesser_of(cookies, request, name)
        if (wait_s := self._tries.wait_s(guesser, name)) > 0:
            words = f"Too many wrong passwords from here: try again in {math.ceil(wait_s)} s."
            return await self._page(request, target, 429, name, words)
        member_id = await self._fitting(guesser, name, password)
        if member_id is None:
            log.warning("a sign-in from %s was refused", address or "a Unix socket")
            return await self._page(request, target, 401, name, WRONG)
        answer = await self._door.let_in(request, member_id, "password", target)
        make_known(cookies, request, answer, name)
        return answer

    async def _fitting(self, guesser: str, name: str, password: str) -> str | None:
        """The member's id. Nobody learns which names there are, by the time it takes either."""
        self._passwords.check_room()
        self._tries.begin(guesser, name)
        sessions = self._door.sessions
        found = await sessions.ask(None, lambda books: PasswordStore(books).candidates(name))
        is_possible = 0 < len(password) <= MOST
        member_id = await self._passwords.fitting(password[:MOST], found if is_possible else ())
        if member_id is None:
            return None
        self._tries.right(guesser, name)
        if self._passwords.is_outdated(dict(found)[member_id]):
            hashed = await self._passwords.hashed(password)
            await sessions.ask(None, lambda books: PasswordStore(books).renew(member_id, hashed))
        return member_id

    async def _leave(self, request: Request) -> Response:
        """The session ends here, whatever becomes of the cookie."""
        sessions = self._door.sessions
        signed_in, cookies = await sessions.find(request), await sessions.cookies()
        answer = RedirectResponse("/console/sign-in", 303)
        if signed_in is not None:
            token = cookies.read(request, SESSION) or ""
            if not cookies.is_form_token(token, word_of(await form_of(request), "csrf")):
                raise BadForm("You are still signed in: this form is out of date.", 403)
            member_id = signed_in.principal.name
            actor = actor_of(request.scope, member_id)
            await sessions.ask(
                actor, lambda books: SessionStore(books).end(hash_of_token(token), member_id)
            )
        cookies.drop(request, answer, SESSION)
        return answer
