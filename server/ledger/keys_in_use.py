"""Who in a server wants to know the keys: its budgets, and whoever lets requests in."""

from collections.abc import Callable, Collection, MutableMapping, Set
from typing import Any, Protocol, TypeAlias

from server.ledger.budget_plan import BudgetPlan
from server.ledger.budgets import Budgets
from server.ledger.keys import Key

Left: TypeAlias = tuple[MutableMapping[Any, Any], ...]
"""What is not used any more: to let all of it go at once would keep the interpreter."""
Take: TypeAlias = Callable[[], Left]


class KeysInUse(Protocol):
    def prepared(self, keys: list[Key]) -> Take:
        """Asked beside the event loop: all that takes long. What is returned is called on the loop,
        and has exactly `keys` count from then on."""

    def change(self, keys: Collection[Key], gone: Set[str]) -> None:
        """Asked on the loop: `keys` count as they are now, and those of the ids `gone` do not."""


class Unused:
    """Nobody lets requests in."""

    def prepared(self, keys: list[Key]) -> Take:
        return tuple

    def change(self, keys: Collection[Key], gone: Set[str]) -> None:
        pass


class WithBudgets:
    """The budgets, then another."""

    def __init__(self, budgets: Budgets, other: KeysInUse) -> None:
        self.budgets = budgets
        self.other = other

    def prepared(self, keys: list[Key]) -> Take:
        plan, take = BudgetPlan(keys), self.other.prepared(keys)
        return lambda: (self.budgets.take(plan), *take())

    def change(self, keys: Collection[Key], gone: Set[str]) -> None:
        self.budgets.change(keys, gone)
        self.other.change(keys, gone)
