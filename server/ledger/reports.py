"""What was used and what it costs, summed from the daily sums; and the records, one by one."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal, TypeAlias, get_args

from server.ledger import day_sums
from server.ledger.database import Database, NamedRow
from server.ledger.errors import ReportTooLong
from server.ledger.money import decimal_text
from server.ledger.periods import DAY_S, date_of, day_number

Dimension: TypeAlias = Literal[
    "day", "month", "key", "member", "owner", "alias", "agent_id", "region"
]
Line: TypeAlias = dict[str, Any]

DIMENSIONS: tuple[Dimension, ...] = get_args(Dimension)
KEYED = {"member_id": "key_id"}
ALWAYS = {"day", "currency"}
COLUMNS = {"key": "key_id", "member": "member_id", "month": "day"}
SUMS = (
    "requests",
    "prompt_tokens",
    "cached_tokens",
    "completion_tokens",
    "reasoning_tokens",
    "amount",
)
US = 1_000_000
OF_MEMBERS = """
(SELECT used.*, coalesce(keys.member_id, '') AS member_id
FROM {source} AS used LEFT JOIN keys ON keys.key_id = used.key_id)
"""
"""Whose a key is now, its past is."""
AMONG = {
    "key": "key_id IN ({marks})",
    "member": "key_id IN (SELECT key_id FROM keys WHERE member_id IN ({marks}))",
    "owner": "owner IN ({marks})",
}
LOOKED_AT = {"key": "key_id", "member": "key_id", "owner": "owner"}


@dataclass(frozen=True, slots=True)
class Period:
    """Whole days, UTC, both ends included."""

    first: date
    last: date

    @classmethod
    def month(cls, year: int, month: int) -> "Period":
        first = date(year, month, 1)
        return cls(first, (first + timedelta(days=31)).replace(day=1) - timedelta(days=1))

    def days(self) -> tuple[int, int]:
        """The first day, and the first one after."""
        return day_number(self.first), day_number(self.last) + 1

    def us(self) -> tuple[int, int]:
        first, after = self.days()
        return first * DAY_S * US, after * DAY_S * US


@dataclass(frozen=True, slots=True)
class Only:
    """Narrows a report; None: all."""

    owner: str | None = None
    key_id: str | None = None
    alias: str | None = None
    member_id: str | None = None
    """What the member's keys have used, revoked ones too."""
    among: tuple[Literal["key", "member", "owner"], Sequence[str]] | None = None
    """These keys (ids), members (ids) or owners (names) alone."""

    @property
    def columns(self) -> list[str]:
        """Those that it looks at."""
        given = (self.owner, self.key_id, self.alias, self.member_id)
        names = ("owner", "key_id", "alias", "key_id")
        among = [] if self.among is None else [LOOKED_AT[self.among[0]]]
        return [n for n, value in zip(names, given, strict=True) if value is not None] + among

    def sql(self) -> tuple[str, list[str]]:
        given = {
            "owner = ?": self.owner,
            "key_id = ?": self.key_id,
            "alias = ?": self.alias,
            "key_id IN (SELECT key_id FROM keys WHERE member_id = ?)": self.member_id,
        }
        wanted = {term: value for term, value in given.items() if value is not None}
        terms, values = list(wanted), list(wanted.values())
        if self.among is not None:
            kind, names = self.among
            terms.append(AMONG[kind].format(marks=", ".join("?" * len(names))))
            values += names
        return "".join(f" AND {term}" for term in terms), values


def usage(
    database: Database,
    period: Period,
    by: Sequence[Dimension] = ("day",),
    only: Only | None = None,
    extra: Sequence[str] = (),
    most: int | None = None,
) -> list[Line]:
    """One line a group and currency, in order: the dimensions, the sums, `amount` in micro-units.
    Money in different currencies is never added. Raises ReportTooLong for more than `most` groups
    of days."""
    columns = [COLUMNS.get(name, name) for name in by] + ["currency", *extra]
    names = ", ".join(dict.fromkeys(columns))
    only = only or Only()
    where, values = only.sql()
    sums = ", ".join(f"CAST(sum({name}) AS BIGINT) AS {name}" for name in SUMS)
    asked = {KEYED.get(name, name) for name in (*columns, *only.columns)} - ALWAYS
    smaller = day_sums.source(database, asked, only.owner, period.days())
    source, given = smaller or ("usage_daily", ())
    if "member" in by:
        source = OF_MEMBERS.format(source=source)
    rows = database.named(
        f"SELECT {names}, {sums} FROM {source} AS used WHERE day >= ? AND day < ?{where}"
        f" GROUP BY {names}{'' if most is None else f' LIMIT {most + 1}'}",
        [*given, *period.days(), *values],
    )
    if most is not None and len(rows) > most:
        raise ReportTooLong(f"This report has more than {most:,} lines.")
    return folded(rows, [*by, "currency", *extra])


def folded(rows: Iterable[NamedRow], names: Sequence[str]) -> list[Line]:
    """Day numbers become dates and months; what falls together is added."""
    groups: dict[tuple[Any, ...], Line] = {}
    for row in rows:
        group = {name: value_of(name, row) for name in names}
        sums = groups.setdefault(tuple(group.values()), group | dict.fromkeys(SUMS, 0))
        for name in SUMS:
            sums[name] += row[name]
    return [groups[group] for group in sorted(groups)]


def value_of(name: str, row: NamedRow) -> Any:
    if name == "day":
        return date_of(row["day"]).isoformat()
    if name == "month":
        return date_of(row["day"]).isoformat()[:7]
    return row[COLUMNS.get(name, name)]


RECORD_COLUMNS = (
    "record_id",
    "key_id",
    "owner",
    "alias",
    "weights",
    "revision",
    "endpoint",
    "stream",
    '"end"',
    "finish_reason",
    "agent_id",
    '"user"',
    "region",
    "started_us",
    "ttft_us",
    "duration_us",
    "prompt_tokens",
    "cached_tokens",
    "completion_tokens",
    "reasoning_tokens",
    "price_input",
    "price_cached",
    "price_output",
    "currency",
    "amount",
    "node",
)
PAGE = 10_000


def records(database: Database, period: Period, only: Only | None = None) -> Iterator[Line]:
    """Every record that began in the period, by its start; read page by page."""
    where, values = (only or Only()).sql()
    first, after = period.us()
    last_id = ""
    while True:
        rows = database.named(
            f"SELECT {', '.join(RECORD_COLUMNS)} FROM usage_records"
            " WHERE started_us >= ? AND started_us < ? AND NOT (started_us = ? AND record_id <= ?)"
            f"{where} ORDER BY started_us, record_id LIMIT {PAGE}",
            [first, after, first, last_id, *values],
        )
        last = rows[-1] if rows else {}
        yield from map(record_line, rows)
        if len(rows) < PAGE:
            return
        first, last_id = last["started_us"], last["record_id"]


def record_line(row: NamedRow) -> Line:
    line = dict(row)
    line["stream"] = bool(line["stream"])
    line["started_at"] = datetime.fromtimestamp(line.pop("started_us") / US, UTC).isoformat()
    ttft_us = line.pop("ttft_us")
    line["ttft_s"] = None if ttft_us is None else ttft_us / US
    line["duration_s"] = line.pop("duration_us") / US
    return line


def with_money(line: Line) -> Line:
    """`amount` as an exact decimal in the currency, `amount_micro` as the integer it stands for."""
    return line | {"amount": decimal_text(line["amount"]), "amount_micro": line["amount"]}
