"""What budgets need to know of all keys, worked out beside the event loop."""

from collections.abc import Iterable

from engines.host.interpreter_turns import give_way
from server.ledger.allowance import Allowance
from server.ledger.keys import Key
from server.ledger.levels import Above


class BudgetPlan:
    def __init__(self, keys: Iterable[Key]) -> None:
        self.places: dict[str, tuple[str, str | None]] = {}
        """Key -> its owner, its member."""
        self.members: dict[str, str] = {}
        """Key -> its member, of those that have one."""
        self.levels: dict[str, tuple[Allowance, ...]] = {}
        """Budgeted level -> itself and what is above it, the nearest first."""
        seen: set[Above] = set()
        for key in keys:
            give_way()
            self.places[key.key_id] = key.owner, key.member_id
            if key.member_id is not None:
                self.members[key.key_id] = key.member_id
            if key.budget is not None or key.above not in seen:
                seen.add(key.above)
                self.add(key.levels)

    def add(self, levels: tuple[Allowance, ...]) -> None:
        for number, level in enumerate(levels):
            if level.budget is not None:
                self.levels.setdefault(level.level_id, levels[number:])
