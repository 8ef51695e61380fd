"""/admin/v1/audit: who changed what, as the site's (or the node's) ledger has it."""

from itertools import islice
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from server.errors import ApiError, brief
from server.ledger.audit import ChainBroken, entries, newest, verified
from server.ledger.audit_lines import exported
from server.ledger.errors import LedgerError


class AuditedChange(BaseModel):
    """One change, chained to the one before it."""

    number: int
    at: str = Field(description="When, UTC")
    at_us: int = Field(description="The same in microseconds since 1970")
    actor_kind: str = Field(description="key, member, operator (the server's token), command")
    actor: str = Field(description="The key's or member's id, or user@host")
    address: str = Field(description="The client's")
    action: str = Field(description="Like key.create")
    target: str
    before: str = Field(description="JSON; empty: there was nothing")
    after: str
    previous: str = Field(description="The digest of the entry before")
    digest: str = Field(description="SHA-256 of a JSON array of all other columns in order")


class AuditPage(BaseModel):
    entries: list[AuditedChange]


class AuditCheck(BaseModel):
    is_whole: bool
    reason: str | None = Field(description="The first entry that is not as it was written")
    number: int | None = Field(description="Of the last entry")
    head: str | None = Field(description="Number and digest of the last entry: to be noted")


def add_audit_routes(router: APIRouter, Books: Any) -> None:
    @router.get("/audit", summary="Who changed what, the newest first")
    def read_audit(
        books: Books,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        before: Annotated[int | None, Query(ge=1, le=2**62, description="Only older ones.")] = None,
        after: Annotated[
            int | None,
            Query(ge=0, le=2**62, description="Those behind it, in order; then nothing else."),
        ] = None,
        action: Annotated[str | None, Query(max_length=100)] = None,
    ) -> AuditPage:
        if after is not None:
            _check_alone(before=before, action=action)
            found = list(islice(entries(books, after), limit))
        else:
            found = newest(books, limit, before, action)
        return AuditPage(entries=[AuditedChange(**exported(entry)) for entry in found])

    @router.get("/audit/verify", summary="Whether every entry is as it was written")
    def verify_audit(
        books: Books, head: Annotated[str | None, Query(max_length=100)] = None
    ) -> AuditCheck:
        try:
            last = verified(books, head)
        except ChainBroken as broken:
            return AuditCheck(is_whole=False, reason=str(broken), number=None, head=None)
        except LedgerError as error:
            raise ApiError.invalid(str(error), "head", head, "as 12:9f86d0…") from None
        number, told = (None, None) if last is None else (last.number, last.head)
        return AuditCheck(is_whole=True, reason=None, number=number, head=told)


def _check_alone(**others: object) -> None:
    """Raises ApiError 400."""
    for name, value in others.items():
        if value is not None:
            message = f"{name} goes with the newest entries, not with after."
            raise ApiError.invalid(
                message, name, brief(value), "either after, or before and action"
            )
