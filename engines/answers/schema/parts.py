"""What the makers of plain schemas share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

NEVER: Final = None
"""The plain schema that nothing fits."""
TEXT = "x-text"
"""A plain string's keyword: the nodes of the expression that all of it must match."""
PATH = "x-path"
"""Where such an expression comes from."""
KEYS = "x-keys"
"""A plain object's keyword: the string that its names must be, and its values' schema."""


@dataclass(frozen=True, slots=True)
class Inner:
    """What schemas inside are made plain with."""

    plain: Callable[[Any, str], Any]
    field: str


def any_of(schemas: Sequence[Any]) -> Any:
    left = [each for each in schemas if each is not NEVER]
    if {} in left:
        return {}
    return left[0] if len(left) == 1 else {"anyOf": left} if left else NEVER
