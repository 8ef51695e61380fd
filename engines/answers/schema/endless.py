"""Which references of a JSON schema no value ends: they lead to themselves for ever."""

from collections.abc import Collection, Mapping
from typing import Any

from engines.answers.json_schema import each_place
from engines.answers.schema.keywords import OF_TYPE, types_of, unenforceable
from engines.answers.schema.references import SchemaDocument

_MOST_ROUNDS = 32


def check_ends(root: Any, field: str) -> None:
    """llguidance drops a grammar that never ends, and the answer is free text; xgrammar's goes on
    until the tokens are used up. Raises InvalidRequest with a reference's path."""
    targets = _targets(root)
    ending = _ending(targets)
    for path, part in each_place(root) if len(ending) < len(targets) else ():
        reference = part.get("$ref")
        if isinstance(reference, str) and reference not in ending:
            raise unenforceable(f"{path}/$ref", field, "it refers to itself, and no value ends it")


def _ending(targets: Mapping[str, Any]) -> set[str]:
    """From both sides in turn: a chain of references is settled in two rounds, whatever its order
    in the document; one that jumps about for more than a few is taken to be endless."""
    ending: set[str] = set()
    order = list(targets)
    for _ in range(_MOST_ROUNDS):
        known = len(ending)
        ending.update(r for r in order if r not in ending and _ends(targets[r], ending))
        if len(ending) in (known, len(order)):
            break
        order.reverse()
    return ending


def _targets(root: Any) -> dict[str, Any]:
    """Each reference, and what is there; what leads nowhere is whoever compiles it to name."""
    document, targets = SchemaDocument(root), dict[str, Any]()
    for _, part in each_place(root):
        reference = part.get("$ref")
        if isinstance(reference, str) and reference not in targets:
            try:
                targets[reference] = document.target(reference)
            except LookupError:
                targets[reference] = True
    return targets


def _ends(schema: Any, ending: Collection[str]) -> bool:
    """Whether some value fits, given the references that are known to end. Of a schema's other
    reasons to fit nothing this says nothing: they are found when it is compiled."""
    if not isinstance(schema, Mapping) or not {"enum", "const"}.isdisjoint(schema):
        return True
    reference = schema.get("$ref")
    if isinstance(reference, str) and reference not in ending:
        return False
    return _parts_end(schema, ending)


def _parts_end(schema: Mapping[str, Any], ending: Collection[str]) -> bool:
    each = _listed(schema, "allOf")
    if not all(_ends(part, ending) for part in each):
        return False
    for key in ("anyOf", "oneOf"):
        some = _listed(schema, key)
        if some and not any(_ends(part, ending) for part in some):
            return False
    return any(_type_ends(kind, schema, ending) for kind in _types(schema))


def _types(schema: Mapping[str, Any]) -> tuple[str, ...]:
    return types_of(schema) if isinstance(schema.get("type", ""), str | list) else ("null",)


def _type_ends(kind: str, schema: Mapping[str, Any], ending: Collection[str]) -> bool:
    if kind == "object" and not OF_TYPE["object"].isdisjoint(schema):
        return all(_ends(_property(schema, name), ending) for name in _listed(schema, "required"))
    if kind == "array" and not OF_TYPE["array"].isdisjoint(schema):
        return all(_ends(item, ending) for item in _least_items(schema))
    return True


def _property(schema: Mapping[str, Any], name: Any) -> Any:
    named = schema.get("properties")
    if isinstance(named, Mapping) and isinstance(name, str) and name in named:
        return named[name]
    return schema.get("additionalProperties", True)


def _least_items(schema: Mapping[str, Any]) -> list[Any]:
    """The schemas of the items that a list must have: of those after the first, one stands for
    all."""
    least = schema.get("minItems", 0)
    if not isinstance(least, int) or least < 1:
        return []
    first = _listed(schema, "prefixItems") or _listed(schema, "items")
    rest = schema.get("items", True)
    others = [rest] if least > len(first) and not isinstance(rest, list) else []
    return [*first[:least], *others]


def _listed(schema: Mapping[str, Any], key: str) -> list[Any]:
    value = schema.get(key)
    return value if isinstance(value, list) else []
