"""Lines of a report or of the records, as CSV, JSON or Parquet."""

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal, TypeAlias

from server.ledger.errors import LedgerError

Format: TypeAlias = Literal["table", "csv", "json", "parquet"]
Line: TypeAlias = dict[str, Any]
PARQUET_ROWS = 50_000
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
NUMBER = re.compile(r"-?\d+(\.\d+)?")


def csv_text(lines: Iterable[Line]) -> Iterator[str]:
    """Rows of CSV, the column names first. A text that a spreadsheet would take for a formula has
    an apostrophe before it."""
    writer: csv.DictWriter[str] | None = None
    for line in lines:
        buffer = io.StringIO()
        if writer is None:
            csv.DictWriter(buffer, line).writeheader()
        writer = csv.DictWriter(buffer, line)
        writer.writerow({name: plain(value) for name, value in line.items()})
        yield buffer.getvalue()


def plain(value: Any) -> Any:
    """Clients choose agents' and users' names, and a spreadsheet runs `=`, `+`, `-` and `@`."""
    if isinstance(value, str) and value.startswith(FORMULA) and not NUMBER.fullmatch(value):
        return f"'{value}"
    return value


def json_text(lines: Iterable[Line]) -> Iterator[str]:
    """One JSON array, a line a line."""
    separator = "["
    for line in lines:
        yield f"{separator}\n{json.dumps(line)}"
        separator = ","
    yield "[]\n" if separator == "[" else "\n]\n"


def write_parquet(lines: Iterable[Line], path: Path) -> None:
    """A Parquet file, written in row groups so that a million records need no room in memory.
    Needs pyarrow."""
    try:
        import pyarrow  # type: ignore[import-untyped]
        from pyarrow import parquet
    except ImportError:
        raise LedgerError(
            "Parquet needs the package pyarrow: `pip install pyarrow`, or export --csv."
        ) from None
    rest = iter(lines)
    first = next(rest, None)
    if first is None:
        raise LedgerError(f"There is nothing to export to {path} in this period.")
    schema = pyarrow.schema([(name, arrow_type(pyarrow, name)) for name in first])
    rest = chain([first], rest)
    with parquet.ParquetWriter(path, schema) as writer:
        while group := list(islice(rest, PARQUET_ROWS)):
            writer.write_table(pyarrow.Table.from_pylist(group, schema))


def arrow_type(pyarrow: Any, name: str) -> Any:
    """By the column's name, not by the first row's value: that may be null."""
    if name == "stream":
        return pyarrow.bool_()
    if name.endswith("_s"):
        return pyarrow.float64()
    if name.endswith(("_tokens", "_micro")) or name.startswith("price_") or name == "requests":
        return pyarrow.int64()
    return pyarrow.string()
