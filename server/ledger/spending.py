"""What a level has spent so far, from the daily sums."""

import sqlite3
from collections.abc import Mapping

from server.ledger.budget_accounts import BudgetAccount
from server.ledger.database import PostgresDatabase, Row
from server.ledger.records import LevelKind
from server.ledger.site_sql import ELSEWHERE

OF: Mapping[LevelKind, str] = {
    "key": "kinds.key_id = ?",
    "member": "kinds.key_id IN (SELECT key_id FROM keys WHERE member_id = ?)",
    "owner": "kinds.owner = ?",
    "site": "? = ''",
}
"""Revoked keys count, too."""
SPENT = """
SELECT coalesce(sum(CASE WHEN kinds.currency = ? THEN daily.amount ELSE 0 END), 0),
    coalesce(sum(daily.prompt_tokens + daily.completion_tokens), 0)
FROM kinds JOIN daily ON daily.kind = kinds.id
WHERE {of} AND daily.day >= ?
"""

ELSEWHERE_OF: Mapping[LevelKind, str] = {
    "key": "usage_daily AS used ON key_id = counted",
    "member": "keys ON member_id = counted JOIN usage_daily AS used USING (key_id)",
    "owner": "usage_daily AS used ON owner = counted",
    "site": "usage_daily AS used ON true",
}


def spent_elsewhere(
    site: PostgresDatabase, levels: Mapping[str, tuple[LevelKind, str, int]], node_uid: str
) -> list[Row]:
    """Level, day, currency, micro, tokens of other nodes than this; `levels`: id -> kind, what its
    records are found by, first day."""
    rows: list[Row] = []
    for kind, of in ELSEWHERE_OF.items():
        mine = {name: rest for name, (each, *rest) in levels.items() if each == kind}
        if mine:
            counted, starts = zip(*mine.values(), strict=True)
            columns = (list(mine), list(counted), list(starts), node_uid)
            rows += site.query(ELSEWHERE.format(of=of), columns)
    return rows


def spent(connection: sqlite3.Connection, account: BudgetAccount) -> int:
    row = connection.execute(
        SPENT.format(of=OF[account.kind]), (account.currency, account.counted, account.start_day)
    ).fetchone()
    return int(row[0] if account.budget.kind == "money" else row[1])
