"""A one-time link sets a password; the first one makes the site's first admin."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server.accounts.tenant_wire import MemberIn
from server.console.sign_in.door import Door, actor_of, address_of
from server.console.small_forms import word_of
from server.ledger.actors import Actor
from server.ledger.errors import TenantConflict
from server.ledger.password_store import LinkEnded, PasswordStore, SignInLink
from server.sign_in.passwords import PasswordRefused, Passwords, check_password


class OneTimeLinks:
    """/console/welcome/TOKEN. Looking at the page does not use the link."""

    def __init__(self, door: Door, passwords: Passwords) -> None:
        self._door = door
        self._passwords = passwords

    def routes(self) -> list[Route]:
        show, take = self._door.answering(self._show), self._door.answering(self._take)
        path = "/console/welcome/{token}"
        return [Route(path, show, methods=["GET"]), Route(path, take, methods=["POST"])]

    async def _show(self, request: Request) -> Response:
        try:
            link = await self._link(request)
        except LinkEnded as ended:
            return await self._ended(request, ended)
        return await self._page(request, link)

    async def _take(self, request: Request) -> Response:
        form = await self._door.form(request)
        name = word_of(form, "name")
        password, again = str(form.get("password") or ""), str(form.get("again") or "")
        try:
            link = await self._link(request)
            member = link.member
            name = _first_name(name) if member is None else member.name
            check_password(password, again, name, member.email if member else None)
            hashed = await self._passwords.hashed(password)
            token = request.path_params["token"]
            actor = actor_of(request.scope, member.member_id) if member else _nobody_yet(request)
            done = await self._door.sessions.ask(
                actor, lambda books: PasswordStore(books).use(token, hashed, name)
            )
        except LinkEnded as ended:
            return await self._ended(request, ended)
        except (PasswordRefused, TenantConflict) as wrong:
            return await self._page(request, link, 400, name, str(wrong))
        return await self._door.let_in(request, done.member_id, "link")

    async def _link(self, request: Request) -> SignInLink:
        token = request.path_params["token"]
        return await self._door.sessions.ask(None, lambda books: PasswordStore(books).link(token))

    async def _page(
        self,
        request: Request,
        link: SignInLink,
        status: int = 200,
        name: str = "",
        problem: str = "",
    ) -> Response:
        return await self._door.page(
            request, "welcome.html", status, member=link.member, name=name, problem=problem
        )

    async def _ended(self, request: Request, ended: LinkEnded) -> Response:
        return await self._door.page(
            request, "problem.html", 410, heading="This link has ended", message=str(ended)
        )


def _nobody_yet(request: Request) -> Actor:
    """Whoever has the link that the server's operator was given."""
    return Actor(kind="operator", name="one-time link", address=address_of(request.scope))


def _first_name(name: str) -> str:
    """As `POST /admin/v1/members` takes it. Raises PasswordRefused."""
    try:
        return str(MemberIn(name=name, role="admin").name)
    except ValueError:
        raise PasswordRefused("A name has from 1 to 200 characters, and is printable.") from None
