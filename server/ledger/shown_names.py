"""What people call the keys and members of a report, whose lines have their ids alone."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Literal

from server.ledger.database import Database

_AT_ONCE: Final = 500
_TABLES: Final = {"key": ("keys", "key_id"), "member": ("members", "member_id")}


def shown_names(
    database: Database,
    kind: Literal["key", "member"],
    ids: Iterable[str],
    *,
    owner: str | None = None,
    member_id: str | None = None,
) -> dict[str, str]:
    """By id; of that owner and that member alone (None: of all)."""
    wanted = {"owner = ?": owner, "member_id = ?": member_id}
    given = {term: value for term, value in wanted.items() if value is not None}
    more = "".join(f" AND {term}" for term in given)
    distinct = list(dict.fromkeys(filter(None, ids)))
    return {
        row_id: name
        for first in range(0, len(distinct), _AT_ONCE)
        for row_id, name in _asked(
            database, kind, distinct[first : first + _AT_ONCE], more, list(given.values())
        )
    }


def _asked(
    database: Database, kind: str, ids: Sequence[str], more: str, values: list[str]
) -> Iterator[tuple[str, str]]:
    table, column = _TABLES[kind]
    marks = ", ".join("?" * len(ids))
    sql = f"SELECT {column}, name FROM {table} WHERE {column} IN ({marks}){more}"
    yield from ((str(row_id), str(name)) for row_id, name in database.query(sql, [*ids, *values]))
