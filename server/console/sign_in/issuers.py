"""The way to an OpenID Connect issuer and back."""

import hmac
import logging

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from server.console.sign_in.cookies import FLOW
from server.console.sign_in.door import Door, actor_of, inside
from server.http.web_pages import is_loopback
from server.sign_in.bounded_http import IssuerUnavailable
from server.sign_in.id_tokens import IdentityRefused
from server.sign_in.issuers import Issuers, rule_of
from server.sign_in.people import member_of, person_of

log = logging.getLogger("fjord.console")

NOBODY = (
    "The issuer knows you, and no rule of this site says who you are here. An admin of this site "
    "can add one (`access:` in its registry)."
)
LOST = "This sign-in was begun elsewhere, or more than ten minutes ago. Please begin once more."


class IssuerSignIn:
    """/console/sign-in/issuer and /console/callback."""

    def __init__(self, door: Door, issuers: Issuers, url: str | None = None) -> None:
        """`url`: of this server as browsers know it; None: on this machine alone."""
        self._door = door
        self._issuers = issuers
        self._url = url

    def routes(self) -> list[Route]:
        leave, back = self._door.answering(self._leave), self._door.answering(self._back)
        return [
            Route("/console/sign-in/issuer", leave, methods=["GET"]),
            Route("/console/callback", back, methods=["GET"]),
        ]

    async def _leave(self, request: Request) -> Response:
        flow = self._issuers.flow(request.query_params.get("name", ""))
        redirect_uri = self._redirect_uri(request)
        if flow is None or redirect_uri is None:
            words = "There is no such issuer." if flow is None else _NO_URL
            return await self._refused(request, words, 404)
        try:
            url, kept = await flow.begin(redirect_uri)
        except IssuerUnavailable as away:
            return await self._away(request, away)
        kept["next"] = inside(request.query_params.get("next", ""))
        answer = RedirectResponse(url, 303, {"Cache-Control": "no-store"})
        cookies = await self._door.sessions.cookies()
        cookies.set(request, answer, FLOW, cookies.sealed(kept))
        return answer

    async def _back(self, request: Request) -> Response:
        answer = await self._ended(request)
        (await self._door.sessions.cookies()).drop(request, answer, FLOW)
        return answer

    async def _ended(self, request: Request) -> Response:
        cookies = await self._door.sessions.cookies()
        kept = cookies.opened(cookies.read(request, FLOW) or "")
        given = request.query_params
        state = given.get("state", "").encode(errors="replace")
        if kept is None or not hmac.compare_digest(state, str(kept["state"]).encode()):
            return await self._refused(request, LOST)
        flow = self._issuers.flow(str(kept["issuer"]))
        is_its = flow is None or given.get("iss", flow.entry.issuer) == flow.entry.issuer
        if flow is None or "code" not in given or not is_its:  # RFC 9207
            return await self._refused(request, "The issuer did not let you in.")
        try:
            claims = await flow.end(given["code"], kept)
            if (rule := rule_of(flow.entry, claims)) is None:
                return await self._refused(request, NOBODY)
            person = person_of(flow.entry.issuer, claims, rule)
            actor = actor_of(request.scope, f"{flow.entry.name}: {person.subject}"[:200])
            member = await self._door.sessions.ask(actor, lambda books: member_of(books, person))
        except IssuerUnavailable as away:
            return await self._away(request, away)
        except IdentityRefused as refused:
            return await self._refused(request, str(refused))
        return await self._door.let_in(
            request, member.member_id, flow.entry.name, str(kept["next"])
        )

    def _redirect_uri(self, request: Request) -> str | None:
        """Never of a Host header that another page chose."""
        if self._url is not None:
            return f"{self._url.rstrip('/')}/console/callback"
        url = request.url
        if url.hostname is None or not is_loopback(url.hostname):
            return None
        return f"{url.scheme}://{url.netloc}/console/callback"

    async def _refused(self, request: Request, words: str, status: int = 403) -> Response:
        log.warning("a sign-in with an issuer was refused: %s", words)
        heading = "You are not signed in"
        return await self._door.page(
            request, "problem.html", status, heading=heading, message=words
        )

    async def _away(self, request: Request, away: IssuerUnavailable) -> Response:
        log.warning("an issuer is not available: %s (%r)", away, away.__cause__)
        words = f"{away} Try again, or sign in with a password of this site."
        heading = "The issuer is not available"
        return await self._door.page(request, "problem.html", 502, heading=heading, message=words)


_NO_URL = (
    "This server does not know its own address: its operator sets it (--console-url), so that the "
    "issuer finds the way back."
)
