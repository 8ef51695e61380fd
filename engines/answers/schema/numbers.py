"""The bounds of a number -> a plain schema."""

import math
from typing import Any

from engines.answers.schema.conjunction import Flat
from engines.answers.schema.keywords import unenforceable
from engines.answers.schema.parts import NEVER, Inner

_MOST_MULTIPLES = 1000
_INT64 = 2**63 - 1
_DECIMALS = 6
"""As xgrammar writes a bound."""


def integer(own: Flat, path: str, inner: Inner) -> Any:
    low = max(_above(own.get("exclusiveMinimum")), _at_least(own.get("minimum")))
    high = min(-_above(_minus(own.get("exclusiveMaximum"))), -_at_least(_minus(own.get("maximum"))))
    if low > high:
        return NEVER
    if "multipleOf" in own:
        return _multiples(own["multipleOf"], low, high, path, inner)
    bounds = {"minimum": low, "maximum": high}
    kept = {key: int(bound) for key, bound in bounds.items() if math.isfinite(bound)}
    for key, bound in kept.items():
        if abs(bound) > _INT64:
            raise unenforceable(f"{path}/{key}", inner.field, "it has more than 63 bits")
    return {"type": "integer"} | kept


def _multiples(step: Any, low: float, high: float, path: str, inner: Inner) -> Any:
    if step > 0 and high - low <= _MOST_MULTIPLES * step and float(step).is_integer():
        first = math.ceil(low / step)
        multiples = range(int(first * step), int(high) + 1, int(step))
        return {"enum": list(multiples)} if multiples else NEVER
    raise unenforceable(
        f"{path}/multipleOf", inner.field, f"only {_MOST_MULTIPLES} integers in bounds can"
    )


def _above(bound: Any) -> float:
    return -math.inf if bound is None else math.floor(bound) + 1


def _at_least(bound: Any) -> float:
    return -math.inf if bound is None else math.ceil(bound)


def _minus(bound: Any) -> Any:
    return None if bound is None else -bound


def number(own: Flat, path: str, inner: Inner) -> Any:
    if "multipleOf" in own:
        raise unenforceable(f"{path}/multipleOf", inner.field, "it speaks of fractions")
    if any(abs(bound) > _INT64 for bound in own.values()):
        raise unenforceable(f"{path}/{next(iter(own))}", inner.field, "it has more than 63 bits")
    for key, bound in own.items():
        if isinstance(bound, float) and round(bound, _DECIMALS) != bound:
            reason = f"it has more than {_DECIMALS} decimals"
            raise unenforceable(f"{path}/{key}", inner.field, reason)
    low = max(own.get("minimum", -math.inf), own.get("exclusiveMinimum", -math.inf))
    high = min(own.get("maximum", math.inf), own.get("exclusiveMaximum", math.inf))
    is_open = low in (own.get("exclusiveMinimum"),) or high in (own.get("exclusiveMaximum"),)
    if low > high or (low == high and is_open):
        return NEVER
    return {"enum": [low]} if low == high else {"type": "number"} | own
