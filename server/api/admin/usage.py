"""/admin/v1/usage: what was used and what it costs."""

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel

from server.api.admin.reach import Reach, Reached
from server.errors import ApiError
from server.ledger.database import Database
from server.ledger.key_names import id_of
from server.ledger.key_store import KeyStore
from server.ledger.reports import Dimension, Only, Period, usage, with_money


class UsageReport(BaseModel):
    """Lines of sums; `amount` is an exact decimal, `amount_micro` the integer it stands for."""

    first: date
    last: date
    lines: list[dict[str, Any]]


def add_usage_route(router: APIRouter, Books: Any) -> None:
    @router.get("/usage", summary="Requests, tokens and money of a period; days are UTC")
    def read_usage(
        books: Books,
        reach: Reached,
        first: Annotated[date | None, Query(description="Default: this month's first.")] = None,
        last: Annotated[date | None, Query(description="Included. Default: today.")] = None,
        by: Annotated[list[Dimension] | None, Query()] = None,
        owner: str | None = None,
        key_id: str | None = None,
        alias: str | None = None,
    ) -> UsageReport:
        today = datetime.now(UTC).date()
        period = Period(first or today.replace(day=1), last or today)
        if period.first > period.last:
            message = f"first {period.first} is after last {period.last}."
            raise ApiError.invalid(message, "first", str(period.first), "a day up to last")
        only = narrowed(books, reach, Only(owner=owner, key_id=key_id, alias=alias))
        if only is None:
            return UsageReport(first=period.first, last=period.last, lines=[])
        lines = usage(books, period, by or ["day"], only)
        return UsageReport(
            first=period.first, last=period.last, lines=[with_money(line) for line in lines]
        )


def narrowed(books: Database, reach: Reach, only: Only) -> Only | None:
    """What was asked for by names or ids, within reach; None: it is all others'."""
    owner = None if only.owner is None else reach.owner_word(books, only.owner)
    if reach.owner is not None and owner not in (None, reach.owner):
        return None
    key_id = only.key_id and id_of(reach.keys(KeyStore(books)), only.key_id)
    return replace(only, owner=reach.owner or owner, key_id=key_id, member_id=reach.member_id)
