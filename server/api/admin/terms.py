"""What of the server's registry and memory the routes of the books need."""

from collections.abc import Callable
from typing import NamedTuple

from engines.registry.names import ModelNames
from server.ledger.level_use import Reserved


class Terms(NamedTuple):
    """Of the server that answers."""

    names: Callable[[], ModelNames]
    """As they are now."""
    currency: str
    """Where no level says one."""
    reserved: Callable[[], Reserved] = dict
    """By open requests here, as Budgets.reservations."""
