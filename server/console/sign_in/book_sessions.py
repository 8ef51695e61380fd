"""A cookie -> who has signed in, by the books of the site (or of this node)."""

import asyncio
from collections.abc import Callable
from contextlib import closing, suppress
from typing import TypeVar

from starlette.requests import Request

from server.accounts.principal import Principal
from server.console.session import SignedIn
from server.console.sign_in.cookies import SESSION, Cookies
from server.ledger.actors import Actor
from server.ledger.database import Database
from server.ledger.errors import LedgerUnavailable
from server.ledger.password_store import hash_of_token
from server.ledger.session_store import SessionRow, SessionStore
from server.ledger.troubles import told_as_unavailable
from server.sign_in.site_secret import site_secret

Result = TypeVar("Result")


class BookSessions:
    """Belongs to one event loop; the books are asked on worker threads."""

    def __init__(self, open_books: Callable[[], Database], *, is_secure: bool = False) -> None:
        """`open_books` may block, and raise LedgerUnavailable. `is_secure`: as Cookies has it."""
        self._open_books = open_books
        self._is_secure = is_secure
        self._cookies: Cookies | None = None
        self._seeing: asyncio.Task[None] | None = None
        """One at a time."""

    async def cookies(self) -> Cookies:
        """Raises LedgerUnavailable."""
        if self._cookies is None:
            secret = await self.ask(None, site_secret)
            self._cookies = Cookies(secret, is_secure=self._is_secure)
        return self._cookies

    async def ask(self, actor: Actor | None, work: Callable[[Database], Result]) -> Result:
        """`work` with the books, on a thread. Raises LedgerUnavailable, and what it raises."""

        def done() -> Result:
            with told_as_unavailable(), closing(self._open_books()) as books:
                if actor is not None:
                    books.actor = actor
                return work(books)

        return await asyncio.to_thread(done)

    async def find(self, request: Request) -> SignedIn | None:
        cookies = await self.cookies()
        token = cookies.read(request, SESSION)
        if token is None:
            return None
        row = await self.ask(None, lambda books: SessionStore(books).find(hash_of_token(token)))
        if row is None:
            return None
        if row.is_to_be_seen and (self._seeing is None or self._seeing.done()):
            self._seeing = asyncio.create_task(self._see(row.session_id))
        return SignedIn(principal_of(row), cookies.form_token(token))

    async def _see(self, session_id: str) -> None:
        """No page waits for a ledger that is locked or full; another visit writes it."""
        with suppress(LedgerUnavailable):
            await self.ask(None, lambda books: SessionStore(books).see(session_id))

    async def own_id(self, request: Request) -> str:
        """Of the session of this request; "": it has none."""
        token = (await self.cookies()).read(request, SESSION)
        return "" if token is None else hash_of_token(token)


def principal_of(row: SessionRow) -> Principal:
    return Principal(
        kind="member", name=row.member_id, role=row.role, owner=row.owner, title=row.name
    )
