"""/admin/v1/usage: what was used and what it costs, as JSON, CSV or Parquet."""

import tempfile
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from server.api.admin.reach import Reach, Reached
from server.errors import ApiError
from server.ledger.database import Database
from server.ledger.errors import LedgerError, ReportTooLong
from server.ledger.export import csv_text, write_parquet
from server.ledger.key_names import id_of
from server.ledger.key_store import KeyStore
from server.ledger.reports import Dimension, Line, Only, Period, usage, with_money
from server.ledger.shown_names import shown_names

MOST_DAYS: Final = 3_660
KINDS: Final[tuple[Literal["key", "member"], ...]] = ("key", "member")
MOST_LINES: Final = 200_000
"""Some 100 MB while they are summed."""
TYPES: Final = {"csv": "text/csv; charset=utf-8", "parquet": "application/vnd.apache.parquet"}


class UsageReport(BaseModel):
    """Lines of sums; `amount` is an exact decimal, `amount_micro` the integer it stands for."""

    first: date
    last: date
    lines: list[dict[str, Any]]
    names: dict[str, str] = Field(
        description="Of the keys and members in the lines, by id; files have ids alone"
    )


def add_usage_route(router: APIRouter, Books: Any) -> None:
    @router.get(
        "/usage",
        summary="Requests, tokens and money of a period; days are UTC",
        response_model=UsageReport,
    )
    def read_usage(
        books: Books,
        reach: Reached,
        first: Annotated[date | None, Query(description="Default: this month's first.")] = None,
        last: Annotated[date | None, Query(description="Included. Default: today.")] = None,
        by: Annotated[list[Dimension] | None, Query()] = None,
        owner: str | None = None,
        member: str | None = None,
        key_id: str | None = None,
        alias: str | None = None,
        form: Annotated[Literal["json", "csv", "parquet"], Query(alias="format")] = "json",
    ) -> Any:
        """`csv` and `parquet` are the lines, as a file."""
        period = period_of(first, last)
        only = narrowed(books, reach, Only(owner=owner, key_id=key_id, alias=alias), member)
        lines = [] if only is None else _lines(books, period, by or ["day"], only)
        if form == "json":
            names = _names(books, reach, lines)
            return UsageReport(first=period.first, last=period.last, lines=lines, names=names)
        name = f"usage-{period.first}-{period.last}.{form}"
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        body = "".join(csv_text(lines)).encode() if form == "csv" else _parquet(lines)
        return Response(body, media_type=TYPES[form], headers=headers)


def period_of(first: date | None, last: date | None) -> Period:
    """Raises ApiError."""
    today = datetime.now(UTC).date()
    period = Period(first or today.replace(day=1), last or today)
    if period.first > period.last:
        message = f"first {period.first} is after last {period.last}."
        raise ApiError.invalid(message, "first", str(period.first), "a day up to last")
    if (period.last - period.first).days >= MOST_DAYS:
        message = f"{period.first} to {period.last} is more than {MOST_DAYS} days."
        raise ApiError.invalid(message, "first", str(period.first), f"at most {MOST_DAYS} days")
    return period


def narrowed(books: Database, reach: Reach, only: Only, member: str | None = None) -> Only | None:
    """What was asked for by names or ids, within reach; None: it is all others'. Raises
    MemberNotFound, TenantConflict."""
    owner = None if only.owner is None else reach.owner_word(books, only.owner)
    if reach.owner is not None and owner not in (None, reach.owner):
        return None
    word = only.key_id
    key_id = word and id_of(reach.keys_called(KeyStore(books), word), word)
    whose = None if member is None else reach.member(books, member, owner).member_id
    owner = reach.owner or owner
    return replace(only, owner=owner, key_id=key_id, member_id=reach.member_id or whose)


def _lines(books: Database, period: Period, by: list[Dimension], only: Only) -> list[Line]:
    """Raises ApiError."""
    try:
        found = usage(books, period, list(dict.fromkeys(by)), only, most=MOST_LINES)
    except ReportTooLong as error:
        expected = "a shorter period, or fewer dimensions"
        raise ApiError.invalid(f"{error}", "by", None, expected) from None
    return [with_money(line) for line in found]


def _names(books: Database, reach: Reach, lines: list[Line]) -> dict[str, str]:
    """What is not there for who asks has none: an owner's key may be a person's of the site."""
    found: dict[str, str] = {}
    for kind in KINDS:
        ids = [line[kind] for line in lines if kind in line]
        found |= shown_names(books, kind, ids, owner=reach.owner, member_id=reach.member_id)
    return found


def _parquet(lines: Iterable[Line]) -> bytes:
    """Raises ApiError."""
    if not lines:
        message = "Nothing was used in this period, and Parquet has no columns without a line."
        raise ApiError.invalid(message, "format", "parquet", "csv, or json")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "usage.parquet")
        try:
            write_parquet(lines, path)
        except LedgerError as error:
            raise ApiError.invalid(str(error), "format", "parquet", "csv, or json") from None
        return path.read_bytes()
