"""What the registry says that keys and members are made with."""

from collections.abc import Callable
from typing import NamedTuple

from engines.registry.names import ModelNames


class Terms(NamedTuple):
    names: Callable[[], ModelNames]
    """As they are now."""
    currency: str
    """Where no level says one."""
