"""One's own sessions, and one's own password."""

from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from server.console.session import SignedIn
from server.console.sign_in.cookies import SESSION
from server.console.sign_in.door import Door, actor_of, address_of
from server.console.small_forms import BadForm, form_of, word_of
from server.ledger.database import Database
from server.ledger.member_store import MemberStore
from server.ledger.password_store import PasswordStore
from server.ledger.session_store import SessionRow, SessionStore
from server.sign_in.failed_tries import FailedTries
from server.sign_in.passwords import MOST, PasswordRefused, Passwords, check_password

ACCOUNT = "/console/account"


class OwnAccount:
    """/console/account."""

    def __init__(self, door: Door, passwords: Passwords) -> None:
        self._door = door
        self._passwords = passwords
        self._tries = FailedTries()

    def routes(self) -> list[Route]:
        show, end, change = map(self._door.answering, (self._show, self._end, self._change))
        return [
            Route(ACCOUNT, show, methods=["GET"]),
            Route(f"{ACCOUNT}/sessions", end, methods=["POST"]),
            Route(f"{ACCOUNT}/password", change, methods=["POST"]),
        ]

    async def _show(self, request: Request) -> Response:
        signed_in = await self._door.sessions.find(request)
        if signed_in is None:
            return RedirectResponse(f"/console/sign-in?next={ACCOUNT}", 303)
        return await self._page(request, signed_in)

    async def _page(
        self, request: Request, signed_in: SignedIn, status: int = 200, problem: str = ""
    ) -> Response:
        member_id, sessions = signed_in.principal.name, self._door.sessions
        own = await sessions.own_id(request)

        def read(books: Database) -> tuple[list[SessionRow], bool]:
            rows = SessionStore(books).of_member(member_id)
            return rows, PasswordStore(books).hash_of(member_id) is not None

        rows, has_password = await sessions.ask(None, read)
        shown = [(row, moment(row.began_at), row.session_id == own) for row in rows]
        return self._door.own_page(
            request,
            signed_in,
            "account.html",
            status,
            sessions=shown,
            has_password=has_password,
            problem=problem,
            is_done=request.query_params.get("done") == "1",
        )

    async def _own(self, request: Request) -> SignedIn:
        """Raises BadForm."""
        signed_in = await self._door.sessions.find(request)
        token = word_of(await form_of(request), "csrf")
        cookies = await self._door.sessions.cookies()
        cookie = cookies.read(request, SESSION)
        if signed_in is None or not cookies.is_form_token(cookie, token):
            raise BadForm("Nothing was changed: sign in, and try once more.", 403)
        return signed_in

    async def _end(self, request: Request) -> Response:
        signed_in = await self._own(request)
        form, member_id = await form_of(request), signed_in.principal.name
        actor, which = actor_of(request.scope, member_id), word_of(form, "session")
        await self._door.sessions.ask(
            actor, lambda books: SessionStore(books).end(which, member_id)
        )
        return RedirectResponse(f"{ACCOUNT}?done=1", 303)

    async def _change(self, request: Request) -> Response:
        """Whoever sits down at an open browser does not know the old one."""
        signed_in = await self._own(request)
        form, who = await form_of(request), signed_in.principal
        old, new = str(form.get("old") or "")[:MOST], str(form.get("password") or "")
        sessions, address = self._door.sessions, address_of(request.scope)
        if self._tries.wait_s(address, who.name) > 0:
            return await self._page(request, signed_in, 429, "Too many tries: wait a minute.")
        self._passwords.check_room()
        self._tries.begin(address, who.name)
        known = await sessions.ask(None, lambda books: PasswordStore(books).hash_of(who.name))
        if known is None or await self._passwords.fitting(old, [(who.name, known)]) is None:
            return await self._page(request, signed_in, 400, "That is not your password.")
        self._tries.right(address, who.name)
        members = await sessions.ask(None, lambda books: MemberStore(books).of_id(who.name))
        try:
            words = (members[0].name, members[0].email) if members else ()
            check_password(new, str(form.get("again") or ""), *words)
        except PasswordRefused as wrong:
            return await self._page(request, signed_in, 400, str(wrong))
        hashed = await self._passwords.hashed(new)
        actor = actor_of(request.scope, who.name)
        await sessions.ask(actor, lambda books: PasswordStore(books).set(who.name, hashed))
        return await self._door.let_in(request, who.name, "password", f"{ACCOUNT}?done=1")


def moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="minutes").replace("+00:00", "Z")
