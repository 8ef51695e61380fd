"""`fjord usage`: what was used and what it costs, as a table, CSV, JSON or Parquet."""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from server.cli.apps import new_app
from server.cli.options import DEFAULT_DIR, DataDir, LedgerUrl, failed
from server.cli.periods import First, Last, Month, Owner, open_reports, period_of
from server.cli.tables import Column, show_table
from server.cli.trouble import whole
from server.ledger.export import csv_text, json_text, write_parquet
from server.ledger.key_names import id_of
from server.ledger.key_store import KeyStore
from server.ledger.money import money_text
from server.ledger.owner_store import OwnerStore
from server.ledger.reports import DIMENSIONS, Dimension, Line, Only, Period, records, with_money
from server.ledger.reports import usage as usage_lines

app = new_app()


@app.command()
def usage(
    by: Annotated[
        str, typer.Option(help=f"One or more of {', '.join(DIMENSIONS)}, comma-separated.")
    ] = "day",
    month: Month = None,
    first: First = None,
    last: Last = None,
    owner: Owner = None,
    key: Annotated[str | None, typer.Option(help="Only this key, by name or id.")] = None,
    model: Annotated[str | None, typer.Option(help="Only this alias.")] = None,
    list_records: Annotated[
        bool, typer.Option("--records", help="The records themselves, not sums.")
    ] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Comma-separated values.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON array.")] = False,
    parquet: Annotated[Path | None, typer.Option(help="Write a Parquet file.")] = None,
    data_dir: DataDir = DEFAULT_DIR,
    ledger_url: LedgerUrl = None,
) -> None:
    """Requests, tokens and money of a period.

    This month where none is given; days are UTC.
    """
    period = period_of(month, first, last)
    with open_reports(data_dir, ledger_url) as database:
        key_id = None if key is None else id_of(KeyStore(database).called(key), key)
        name = None if owner is None else OwnerStore(database).name_of(owner)
        only = Only(owner=name, key_id=key_id, alias=model)
        lines = (
            map(with_money, records(database, period, only))
            if list_records
            else map(with_money, usage_lines(database, period, dimensions(by), only))
        )
        if parquet is not None:
            with whole(parquet) as part:
                write_parquet(lines, part)
        elif as_csv:
            sys.stdout.writelines(csv_text(lines))
        elif as_json:
            sys.stdout.writelines(json_text(lines))
        else:
            show(list(lines), period)


def dimensions(text: str) -> Sequence[Dimension]:
    names = [name.strip().replace("-", "_") for name in text.split(",")]
    for name in names:
        if name not in DIMENSIONS:
            raise failed(f"--by {name!r} is none of {', '.join(DIMENSIONS)}.")
    return cast(Sequence[Dimension], list(dict.fromkeys(names)))


def show(lines: Sequence[Line], period: Period) -> None:
    if not lines:
        typer.echo(f"Nothing was used from {period.first} to {period.last}.")
        return
    names = [name for name in lines[0] if name != "amount_micro"]
    columns = [Column(name.replace("_", " "), is_number=is_number(name)) for name in names]
    typer.echo(f"{period.first} to {period.last}\n")
    show_table(columns, [[cell(line[name]) for name in names] for line in lines])
    for total in totals(lines):
        typer.echo(f"Total {total}")


def totals(lines: Iterable[Line]) -> list[str]:
    sums: dict[str, int] = {}
    for line in lines:
        sums[line["currency"]] = sums.get(line["currency"], 0) + line["amount_micro"]
    return [money_text(micro, currency) for currency, micro in sorted(sums.items())]


def is_number(name: str) -> bool:
    return name in ("requests", "amount") or name.endswith(("_tokens", "_s"))


def cell(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else str(value)
