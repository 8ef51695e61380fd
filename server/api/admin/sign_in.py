"""/admin/v1/members/{member}/invite and …/sessions: how members come in, and are put out."""

import time
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from server.api.admin.reach import Reach, Reached
from server.ledger.password_store import LINK_LASTS_S, PasswordStore
from server.ledger.session_store import SessionRow, SessionStore
from server.ledger.tenants import MemberLevel


class Invitation(BaseModel):
    """Shown only now."""

    path: str = Field(description="On the console's address: the member sets a password there")
    ends_at: str = Field(description="UTC; it is good once")


class OpenSession(BaseModel):
    """Of a browser that has signed in."""

    began_at: str
    seen_at: str
    ends_at: str
    address: str
    agent: str


class EndedSessions(BaseModel):
    ended: int


Of = Annotated[str | None, Query(description="Of this owner, by name or id.")]


def add_sign_in_routes(router: APIRouter, Books: Any) -> None:
    """Before the routes of members, whose paths take all that follows."""

    @router.post(
        "/members/{member:path}/invite",
        status_code=201,
        summary="A link by which a member sets a password; former links end",
    )
    def invite_member(member: str, books: Books, reach: Reached, owner: Of = None) -> Invitation:
        token = PasswordStore(books).invite(_found(books, reach, member, owner).member_id)
        ends_at = time.time() + LINK_LASTS_S
        return Invitation(path=f"/console/welcome/{token}", ends_at=_moment(ends_at))

    @router.get("/members/{member:path}/sessions", summary="Where a member has signed in")
    def list_sessions(
        member: str, books: Books, reach: Reached, owner: Of = None
    ) -> list[OpenSession]:
        rows = SessionStore(books).of_member(_found(books, reach, member, owner).member_id)
        return [_shown(row) for row in rows]

    @router.delete("/members/{member:path}/sessions", summary="End all sessions of a member")
    def end_sessions(member: str, books: Books, reach: Reached, owner: Of = None) -> EndedSessions:
        found = _found(books, reach, member, owner)
        return EndedSessions(ended=SessionStore(books).end_all(found.member_id))


def _shown(row: SessionRow) -> OpenSession:
    return OpenSession(
        began_at=_moment(row.began_at),
        seen_at=_moment(row.seen_at),
        ends_at=_moment(row.ends_at),
        address=row.address,
        agent=row.agent,
    )


def _moment(at: float) -> str:
    said = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
    return said.replace("+00:00", "Z")


def _found(books: Any, reach: Reach, member: str, owner: str | None) -> MemberLevel:
    name = None if owner is None else reach.owner_level(books, owner).name
    return reach.member(books, member, name)
