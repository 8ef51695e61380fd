"""All pages of the door."""

from starlette.routing import Route

from server.console.pages import Pages
from server.console.sign_in.account import OwnAccount
from server.console.sign_in.book_sessions import BookSessions
from server.console.sign_in.door import Door
from server.console.sign_in.issuers import IssuerSignIn
from server.console.sign_in.links import OneTimeLinks
from server.console.sign_in.local import LocalSignIn
from server.sign_in.issuers import Issuers
from server.sign_in.passwords import Passwords


def door_routes(
    sessions: BookSessions, pages: Pages, issuers: Issuers, url: str | None
) -> list[Route]:
    """`url`: of this server as browsers know it."""
    door, passwords = Door(sessions, pages), Passwords()
    parts = (
        LocalSignIn(door, passwords, issuers.names),
        OneTimeLinks(door, passwords),
        OwnAccount(door, passwords),
        IssuerSignIn(door, issuers, url),
    )
    return [route for part in parts for route in part.routes()]
