"""Lines of a report or of the records, as CSV, JSON or Parquet."""

import csv
import io
import json
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal, TypeAlias

from server.ledger.errors import LedgerError

Format: TypeAlias = Literal["table", "csv", "json", "parquet"]
Line: TypeAlias = dict[str, Any]
PARQUET_ROWS = 50_000


def csv_text(lines: Iterable[Line]) -> Iterator[str]:
    """Rows of CSV, the column names first."""
    writer: csv.DictWriter[str] | None = None
    for line in lines:
        buffer = io.StringIO()
        if writer is None:
            csv.DictWriter(buffer, line).writeheader()
        writer = csv.DictWriter(buffer, line)
        writer.writerow(line)
        yield buffer.getvalue()


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
