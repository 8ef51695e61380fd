"""What a key has spent so far, from the daily sums."""

import sqlite3

from server.ledger.budgets import BudgetAccount

SPENT = """
SELECT coalesce(sum(CASE WHEN kinds.currency = ? THEN daily.amount ELSE 0 END), 0),
    coalesce(sum(daily.prompt_tokens + daily.completion_tokens), 0)
FROM kinds JOIN daily ON daily.kind = kinds.id
WHERE kinds.key_id = ? AND daily.day >= ?
"""


def spent(connection: sqlite3.Connection, account: BudgetAccount) -> int:
    row = connection.execute(
        SPENT, (account.currency, account.key_id, account.start_day)
    ).fetchone()
    return int(row[0] if account.budget.kind == "money" else row[1])
