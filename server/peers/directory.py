"""Where the site's nodes are, and the password that they know each other by: both in its books."""

import asyncio
import hmac
import secrets
import time
from collections.abc import Callable
from contextlib import closing
from typing import Final, TypeVar

from engines.base import EngineUnavailable
from server.ledger.database import Database
from server.ledger.errors import LedgerError
from server.ledger.meta import remember, remembered
from server.ledger.node_store import NodeStore
from server.ledger.site_limits import GONE_S

LOOK_AGAIN_S: Final = 1.0
_NAME: Final = "peer_password"
T = TypeVar("T")


class DatabaseAway(EngineUnavailable):
    """Nobody can be asked where the site's nodes are."""


class Directory:
    """Every method asks the database in a thread."""

    def __init__(self, open_books: Callable[[], Database]) -> None:
        self._open_books = open_books
        self._password = ""
        self._addresses: dict[str, str] = {}
        self._looked_at = -LOOK_AGAIN_S

    async def address(self, node: str) -> str:
        """Like http://gpu-1:8080; while the database is away, where it was last. Raises
        EngineUnavailable with the reason."""
        try:
            found = await self._asked(lambda books: _address(books, node))
        except DatabaseAway:
            if node not in self._addresses:
                raise
            return self._addresses[node]
        self._addresses[node] = found
        return found

    async def password(self) -> str:
        """Made when it is first asked for."""
        if not self._password:
            self._password = await self._asked(_password)
        return self._password

    def forget_password(self) -> None:
        """The site may have another one."""
        self._password = ""

    async def is_password(self, given: str) -> bool:
        """Whether the site knows its servers by it; one that was changed is looked up, at most once
        in LOOK_AGAIN_S, whatever strangers try. Raises EngineUnavailable."""
        if hmac.compare_digest(given.encode(), (await self.password()).encode()):
            return True
        if time.monotonic() - self._looked_at < LOOK_AGAIN_S:
            return False
        self._looked_at = time.monotonic()
        self._password = found = await self._asked(_password)
        return hmac.compare_digest(given.encode(), found.encode())

    async def _asked(self, question: Callable[[Database], T]) -> T:
        def asked() -> T:
            with closing(self._open_books()) as books:
                return question(books)

        try:
            return await asyncio.to_thread(asked)
        except LedgerError as error:
            raise DatabaseAway("the site's database cannot be asked for its nodes") from error


def _address(books: Database, node: str) -> str:
    named = [row for row in NodeStore(books).list() if row.name == node]
    heard = [row for row in named if row.state != "stopped" and row.silent_s <= GONE_S]
    if not heard:
        known = "is gone" if named else "was never heard of in this site"
        raise EngineUnavailable(f"the node {node} {known}")
    with_address = [row for row in heard if row.address]
    if not with_address:
        raise EngineUnavailable(f"the node {node} does not say where it is reached: --advertise")
    newest = min(with_address, key=lambda row: row.age_s)
    assert newest.address is not None
    return newest.address


def _password(books: Database) -> str:
    if (found := remembered(books, _NAME)) is None:
        with books.writing("meta"):
            if (found := remembered(books, _NAME)) is None:
                found = secrets.token_urlsafe(32)
                remember(books, _NAME, found)
    return found
