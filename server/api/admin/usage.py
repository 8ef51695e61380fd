"""/admin/v1/usage: what was used and what it costs."""

from datetime import UTC, date, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel

from server.errors import ApiError
from server.ledger.key_names import id_of
from server.ledger.key_store import KeyStore
from server.ledger.owner_store import OwnerStore
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
        name = None if owner is None else OwnerStore(books).name_of(owner)
        key = None if key_id is None else id_of(KeyStore(books).list(), key_id)
        only = Only(owner=name, key_id=key, alias=alias)
        lines = usage(books, period, by or ["day"], only)
        return UsageReport(
            first=period.first, last=period.last, lines=[with_money(line) for line in lines]
        )
