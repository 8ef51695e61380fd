"""Issues invoices: numbered without a gap, stored whole, never changed.

What goes onto one is what the ledger's daily sums hold up to the end of its month, less what the
owner's earlier invoices hold. So a record that came after its month was issued (its node was away)
is on the next one, and none is on two.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any

import msgspec

from server.ledger.audit import note
from server.ledger.database import Database, NamedRow
from server.ledger.errors import LedgerError
from server.ledger.invoice import PRICES, Invoice, Seller, summed
from server.ledger.meta import remembered
from server.ledger.periods import EPOCH
from server.ledger.reports import SUMS, Line, Only, Period, usage

GROUP = ("month", "alias", "currency", *PRICES)
HEAD_COLUMNS = (
    *("year", "serial", "owner", "month", "currency", "issued_on", "seller"),
    *("net", "vat", "to_pay"),
)
LINE_COLUMNS = ("year", "serial", "line", "used_in", "alias", *PRICES, *SUMS)
ISSUED = f"""
SELECT {", ".join(HEAD_COLUMNS)} FROM invoices WHERE owner = ? AND month = ? ORDER BY currency
"""
LINES = f"""
SELECT used_in AS month, alias, {", ".join((*PRICES, *SUMS))} FROM invoice_lines
WHERE year = ? AND serial = ? ORDER BY line
"""
BILLED = f"""
SELECT used_in AS month, alias, currency, {", ".join(PRICES)},
    {", ".join(f"CAST(sum({name}) AS BIGINT) AS {name}" for name in SUMS)}
FROM invoice_lines JOIN invoices USING (year, serial) WHERE owner = ?
GROUP BY used_in, alias, currency, {", ".join(PRICES)}
"""
OWNERS = """
SELECT DISTINCT owner FROM usage_daily WHERE day < ?
UNION SELECT owner FROM invoices WHERE month = ?
"""


def owners(database: Database, month: str) -> list[str]:
    """Everybody whom an invoice of the month may concern."""
    return sorted(row[0] for row in database.query(OWNERS, (period_of(month).days()[1], month)))


def issued(database: Database, owner: str, month: str) -> list[Invoice]:
    """As they were issued, one a currency."""
    return [stored(database, row) for row in database.named(ISSUED, (owner, month))]


def drafts(database: Database, owner: str, month: str, seller: Seller | None) -> list[Invoice]:
    """What the month's invoices would be now; none of a currency in which the month, or a later
    one, is issued: the rest goes onto the next."""
    closed = set(database.query("SELECT currency, month FROM invoices WHERE owner = ?", (owner,)))
    begins = remembered(database, "invoiced_from") or ""
    by_currency: dict[str, list[Line]] = defaultdict(list)
    for line in unbilled(database, owner, month):
        currency, used_in = line["currency"], line["month"]
        if used_in == month or used_in >= begins or (currency, used_in) in closed:
            by_currency[currency].append(line)
    for currency, last in closed:
        if last >= month:
            by_currency.pop(currency, None)
    return [summed(owner, month, c, lines, seller) for c, lines in sorted(by_currency.items())]


def unbilled(database: Database, owner: str, month: str) -> Iterable[Line]:
    """Up to the month's end. What used and cost nothing (a refused request) is no line."""
    until = Period(EPOCH, period_of(month).last)
    used = usage(database, until, ("month", "alias"), Only(owner=owner), PRICES)
    billed = {grouped(row): row for row in database.named(BILLED, (owner,))}
    for line in used:
        known = billed.get(grouped(line))
        rest = line if known is None else line | {name: line[name] - known[name] for name in SUMS}
        if rest["amount"] or rest["prompt_tokens"] or rest["completion_tokens"]:
            yield rest


def grouped(line: Line) -> tuple[Any, ...]:
    return tuple(line[name] for name in GROUP)


def issue(
    database: Database, owner: str, month: str, seller: Seller | None, today: date
) -> list[Invoice]:
    """The month's invoices of one owner, as `issue_all` leaves them. Raises LedgerError."""
    issue_all(database, [owner], month, seller, today)
    return issued(database, owner, month)


def issue_all(
    database: Database, owners: Sequence[str], month: str, seller: Seller | None, today: date
) -> None:
    """Issue the month's invoices, one an owner and currency; none where all are. Either all are
    stored or none, and who issues meanwhile waits. Raises LedgerError where that may not be."""
    if seller is None:
        raise LedgerError(
            "An invoice names its seller: write `seller` into the registry (docs/registry.md)."
        )
    if period_of(month).last >= today:
        raise LedgerError(f"{month} is not over: until then there are drafts alone.")
    if remembered(database, "site") is not None:
        raise LedgerError("This node belongs to a site, which invoices: give its --ledger-url.")
    with database.writing("invoices"):
        for owner in owners:
            for draft in drafts(database, owner, month, seller):
                store(database, draft, today)


def store(database: Database, draft: Invoice, today: date) -> None:
    """Under the year's next number: nothing but the table says which, so nothing leaves a gap."""
    head = {
        "year": today.year,
        "serial": next_serial(database, today),
        "issued_on": today.isoformat(),
        "seller": msgspec.json.encode(draft.seller).decode(),
    }
    head |= {name: getattr(draft, name) for name in HEAD_COLUMNS if name not in head}
    insert(database, "invoices", head, HEAD_COLUMNS)
    sums = {name: head[name] for name in ("owner", "month", "currency", "net", "vat", "to_pay")}
    note(database, "invoice.issue", f"{head['year']}-{head['serial']}", None, sums)
    for place, line in enumerate(draft.lines):
        row = line | {"used_in": line["month"], "line": place} | head
        insert(database, "invoice_lines", row, LINE_COLUMNS)


def next_serial(database: Database, today: date) -> int:
    """Numbers and dates rise together. Raises LedgerError where the clock stands before the last
    invoice."""
    (latest,) = database.query("SELECT max(issued_on) FROM invoices")[0]
    if latest is not None and latest > today.isoformat():
        raise LedgerError(f"The clock says {today}, and there is an invoice of {latest}.")
    sql = "SELECT coalesce(max(serial), 0) + 1 FROM invoices WHERE year = ?"
    return int(database.query(sql, (today.year,))[0][0])


def insert(database: Database, table: str, row: NamedRow, names: tuple[str, ...]) -> None:
    places = ", ".join("?" * len(names))
    sql = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({places})"
    database.execute(sql, [row[name] for name in names])


def stored(database: Database, row: NamedRow) -> Invoice:
    return Invoice(
        owner=row["owner"],
        month=row["month"],
        currency=row["currency"],
        lines=database.named(LINES, (row["year"], row["serial"])),
        net=row["net"],
        vat=row["vat"],
        to_pay=row["to_pay"],
        seller=msgspec.json.decode(row["seller"], type=Seller),
        number=f"{row['year']}-{row['serial']:04d}",
        issued_on=date.fromisoformat(row["issued_on"]),
    )


def period_of(month: str) -> Period:
    return Period.month(int(month[:4]), int(month[5:]))
