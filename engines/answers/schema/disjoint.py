"""Whether a `oneOf` is an `anyOf`: no value fits two of its schemas."""

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any, TypeAlias

from engines.answers.schema.conjunction import Flat
from engines.answers.schema.keywords import type_of, types_of

Constants: TypeAlias = Callable[[Any], list[Any] | None]
"""A schema -> its only values, where it names them."""


def are_disjoint(
    branches: Sequence[Sequence[Flat]], constants: Constants, *, are_open: bool = False
) -> bool:
    """Each branch is its alternatives. `are_open`: objects that do not say it have properties
    beside those that they name."""
    return all(
        _apart(a, b, constants, are_open)
        for one, other in combinations(branches, 2)
        for a in one
        for b in other
    )


def _apart(a: Flat, b: Flat, constants: Constants, are_open: bool) -> bool:
    shared = _kinds(a) & _kinds(b)
    if not shared:
        return True
    if "enum" in a and "enum" in b:
        return _differ(a["enum"], b["enum"])
    if shared != {"object"} or "enum" in a or "enum" in b:
        return False
    if _told_apart(a, b, constants):
        return True
    return _needs_more(a, b, are_open) and _needs_more(b, a, are_open)


def _kinds(schema: Flat) -> set[str]:
    kinds = set(map(type_of, schema["enum"])) if "enum" in schema else set(types_of(schema))
    return kinds | ({"integer"} if "number" in kinds else set())


def _told_apart(a: Flat, b: Flat, constants: Constants) -> bool:
    """By a property that both must have, with other values in each."""
    for name in set(a.get("required", ())) & set(b.get("required", ())):
        if name in a.get("properties", {}) and name in b.get("properties", {}):
            left, right = constants(a["properties"][name]), constants(b["properties"][name])
            if left is not None and right is not None and _differ(left, right):
                return True
    return False


def _needs_more(a: Flat, b: Flat, are_open: bool) -> bool:
    """A property that the other, which names all of its own, does not have."""
    if b.get("additionalProperties", are_open) is not False or "patternProperties" in b:
        return False
    return any(name not in b.get("properties", {name}) for name in a.get("required", ()))


def _differ(left: list[Any], right: list[Any]) -> bool:
    return all(value not in right for value in left)
