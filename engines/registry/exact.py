"""Decimals that a person wrote, kept exactly: a text or whole number -> millionths."""

from decimal import Context, Decimal, Inexact, InvalidOperation, Overflow
from typing import Any

MICRO = 1_000_000
EXACT = Context(prec=40, traps=[Inexact, InvalidOperation, Overflow])
"""Raises ArithmeticError where a digit would be lost."""


def micro_units(value: Any, noun: str = "price") -> int:
    """Raises ValueError for what is no decimal from 0 up with at most six places."""
    if isinstance(value, float):
        raise ValueError(f'a {noun} is exact: write it in quotes, "{value}"')
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError(f"not a {noun}")
    try:
        micro = EXACT.multiply(Decimal(value), MICRO)
    except ArithmeticError:
        raise ValueError(f"not a {noun}") from None
    if not micro.is_finite() or micro < 0 or micro != micro.to_integral_value():
        raise ValueError(f"not a {noun}")
    return int(micro)
