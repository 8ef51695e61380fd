"""What the commands about usage share: the books, and the period they speak of."""

from calendar import monthrange
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from server.cli.options import failed
from server.cli.trouble import told
from server.ledger.database import Database
from server.ledger.open_books import open_books, open_to_read
from server.ledger.reports import Period

Month: TypeAlias = Annotated[str | None, typer.Option(help="A month, as 2026-11.")]
First: TypeAlias = Annotated[str | None, typer.Option("--from", help="First day, as 2026-11-01.")]
Last: TypeAlias = Annotated[str | None, typer.Option("--to", help="Last day, included.")]
Owner: TypeAlias = Annotated[str | None, typer.Option(help="Only this owner's, by name or id.")]


@contextmanager
def open_reports(
    data_dir: Path, ledger_url: str | None, *, writing: bool = False
) -> Iterator[Database]:
    """The books. Raises typer.Exit, also for what is done with them."""
    opened = open_books if writing else open_to_read
    with told(), closing(opened(data_dir, ledger_url)) as database:
        yield database


def period_of(month: str | None, first: str | None, last: str | None) -> Period:
    today = datetime.now(UTC).date()
    if month is not None:
        if first or last:
            raise failed("Give --month, or --from and --to, not both.")
        return month_of(month)
    if first is None and last is None:
        return Period.month(today.year, today.month)
    begin = day_of(first, "--from") if first else date(1970, 1, 1)
    end = day_of(last, "--to") if last else today
    if begin > end:
        raise failed(f"--from {begin} is after --to {end}.")
    return Period(begin, end)


def month_of(text: str) -> Period:
    try:
        year, month = (int(part) for part in text.split("-"))
        monthrange(year, month)
        return Period.month(year, month)
    except (ValueError, OverflowError):
        raise failed(f"--month {text!r} is not a month; write it as 2026-11.") from None


def day_of(text: str, option: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise failed(f"{option} {text!r} is not a day; write it as 2026-11-30.") from None
