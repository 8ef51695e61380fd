"""What a level has used in the period of its budget, or, without one, in this month."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final, Literal, TypeAlias

from server.ledger.allowance import Allowance
from server.ledger.database import Database, PostgresDatabase
from server.ledger.periods import date_of, period_end_s, period_start
from server.ledger.reports import Line, Only, Period, usage

RESERVED: Final = """
SELECT coalesce(sum(reserved), 0) FROM reservations
WHERE key_id = ? AND unit = ? AND seen_at > now() - interval '1 minute'
"""
"""By the open requests of all nodes, as of half a second ago."""
LAST_DAY: Final = date(9998, 12, 31)
"""A node's clock may be ahead: what it wrote is in the period, as budgets have it."""

BudgetPeriod: TypeAlias = Literal["day", "month", "total"]
Reserved = Mapping[str, tuple[str, int]]
"""Level -> unit, and what open requests hold of it: `Budgets.reservations` of a server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelUse:
    """Of one level. Money in micro-units."""

    period: "BudgetPeriod"
    begins: date | None
    """None: with the first record."""
    ends_s: float | None
    """Unix seconds; None: never."""
    requests: int
    tokens: int
    money: Mapping[str, int]
    """By currency."""
    spent: int | None
    """In the budget's unit; None: there is none. So `left`."""
    reserved: int | None
    """None, too: only a running server knows."""
    left: int | None


def level_use(
    database: Database,
    level: Allowance,
    reserved: Reserved | None = None,
    clock: float | None = None,
) -> LevelUse:
    """`reserved`: what the server that asks knows; None: no server asks."""
    now = time.time() if clock is None else clock
    lines = usage(database, since(period_of(level), now), (), only_of(level))
    return used_by(database, level, lines, reserved, now)


def period_of(level: Allowance) -> BudgetPeriod:
    return "month" if level.budget is None else level.budget.period


def since(period: BudgetPeriod, now: float) -> Period:
    return Period(date_of(period_start(period, now)), LAST_DAY)


def used_by(
    database: Database,
    level: Allowance,
    lines: list[Line],
    reserved: Reserved | None,
    now: float,
) -> LevelUse:
    """`lines`: what its period has, a currency each."""
    budget, period = level.budget, period_of(level)
    first = since(period, now).first
    spent = None if budget is None else _spent(level, lines)
    held = None if budget is None else _held(database, level, reserved)
    return LevelUse(
        period=period,
        begins=None if period == "total" else first,
        ends_s=period_end_s(period, now),
        requests=sum(line["requests"] for line in lines),
        tokens=sum(map(_tokens, lines)),
        money={line["currency"]: line["amount"] for line in lines},
        spent=spent,
        reserved=held,
        left=None if budget is None else max(0, budget.amount - (spent or 0) - (held or 0)),
    )


def only_of(level: Allowance) -> Only:
    """What narrows a report to the level's records."""
    match level.kind:
        case "owner":
            return Only(owner=level.counted)
        case "member":
            return Only(member_id=level.counted)
        case "key":
            return Only(key_id=level.counted)
    return Only()


def _tokens(line: Line) -> int:
    return int(line["prompt_tokens"] + line["completion_tokens"])


def _spent(level: Allowance, lines: list[Line]) -> int:
    if _unit(level) == "tokens":
        return sum(map(_tokens, lines))
    return sum(line["amount"] for line in lines if line["currency"] == level.currency)


def _unit(level: Allowance) -> str:
    is_money = level.budget is not None and level.budget.kind == "money"
    return level.currency or "" if is_money else "tokens"


def _held(database: Database, level: Allowance, reserved: Reserved | None) -> int | None:
    if isinstance(database, PostgresDatabase):
        [(held,)] = database.query(RESERVED, (level.level_id, _unit(level)))
        return int(held)
    if reserved is None:
        return None
    unit, held = reserved.get(level.level_id, ("", 0))
    return held if unit == _unit(level) else 0
