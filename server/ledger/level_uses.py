"""What several levels of one kind have used: the books are read once for each period."""

import time
from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

from server.ledger.allowance import Allowance
from server.ledger.database import Database
from server.ledger.level_use import BudgetPeriod, LevelUse, Reserved, period_of, since, used_by
from server.ledger.reports import Line, Only, usage

Listed: TypeAlias = Literal["key", "member", "owner"]


def level_uses(
    database: Database,
    kind: Listed,
    levels: Sequence[Allowance],
    reserved: Reserved | None = None,
    clock: float | None = None,
) -> list[LevelUse]:
    """Each as `level_use` has it."""
    now = time.time() if clock is None else clock
    periods = {period_of(level) for level in levels}
    lines = {period: _lines(database, kind, levels, period, now) for period in periods}
    return [
        used_by(database, one, lines[period_of(one)].get(one.counted, []), reserved, now)
        for one in levels
    ]


def _lines(
    database: Database, kind: Listed, levels: Sequence[Allowance], period: BudgetPeriod, now: float
) -> Mapping[str, list[Line]]:
    """By what a level is counted by."""
    names = [level.counted for level in levels if period_of(level) == period]
    found: dict[str, list[Line]] = {}
    for line in usage(database, since(period, now), (kind,), Only(among=(kind, names))):
        found.setdefault(line[kind], []).append(line)
    return found
