"""The keywords of one schema that combines no others -> plain schemas, one a type."""

from collections.abc import Callable, Mapping
from typing import Any

from engines.answers.schema.conjunction import Flat
from engines.answers.schema.keywords import OF_TYPE, types_of, unenforceable
from engines.answers.schema.numbers import integer, number
from engines.answers.schema.objects import plain_object
from engines.answers.schema.parts import NEVER, PATH, TEXT, Inner, any_of
from engines.answers.schema.patterns import UnreadablePattern, nodes_of
from engines.answers.schema.values import CannotTell, fits

KNOWN_FORMATS = frozenset(
    {"email", "date", "time", "date-time", "duration", "ipv4", "ipv6", "hostname", "uuid"}
    | {"uri", "uri-reference", "uri-template"}
)
_POINTER = r"(/([^~/]|~[01])*)*"
FORMATS_AS_PATTERNS: Mapping[str, str] = {
    "json-pointer": f"^{_POINTER}$",
    "relative-json-pointer": f"^(0|[1-9][0-9]*)(#|{_POINTER})$",
}
FORMATS = KNOWN_FORMATS | FORMATS_AS_PATTERNS.keys()
"""The others are annotations."""


def plain_types(flat: Flat, path: str, inner: Inner) -> Any:
    if "enum" in flat:
        return _enum(flat, path, inner)
    if not flat:
        return {}
    return any_of([_of_type(kind, flat, path, inner) for kind in types_of(flat)])


def _enum(flat: Flat, path: str, inner: Inner) -> Any:
    try:
        left = [value for value in flat["enum"] if fits(value, flat)]
    except CannotTell as keyword:
        raise unenforceable(f"{path}/{keyword}", inner.field, "it stands beside enum") from None
    return {"enum": left} if left else NEVER


def _of_type(kind: str, flat: Flat, path: str, inner: Inner) -> Any:
    of_type = OF_TYPE["number" if kind == "integer" else kind] if kind in _MADE else frozenset()
    own = {key: value for key, value in flat.items() if key in of_type}
    return _MADE[kind](own, path, inner) if kind in _MADE else {"type": kind}


def _string(own: Flat, path: str, inner: Inner) -> Any:
    if "format" in own:
        return _formatted(own, path, inner)
    shortest, longest = int(own.get("minLength", 0)), own.get("maxLength")
    if "pattern" not in own and shortest == 0 and longest is None:
        return {"type": "string"}
    if longest is not None and shortest > longest:
        return NEVER
    try:
        nodes = nodes_of(own.get("pattern"), shortest, None if longest is None else int(longest))
    except UnreadablePattern as error:
        raise unenforceable(f"{path}/pattern", inner.field, str(error)) from None
    return {"type": "string", TEXT: nodes, PATH: f"{path}/pattern"}


def _formatted(own: Flat, path: str, inner: Inner) -> Any:
    for other in own.keys() - {"format"}:
        raise unenforceable(f"{path}/{other}", inner.field, "it stands beside format")
    form = own["format"]
    if form in KNOWN_FORMATS:
        return {"type": "string", "format": form}
    return _string({"pattern": FORMATS_AS_PATTERNS[form]}, path, inner)


def _array(own: Flat, path: str, inner: Inner) -> Any:
    least, most = int(own.get("minItems", 0)), own.get("maxItems")
    prefix = list(own.get("prefixItems", []))[: None if most is None else int(most)]
    plain = [inner.plain(each, f"{path}/prefixItems/{i}") for i, each in enumerate(prefix)]
    rest = inner.plain(own.get("items", True), f"{path}/items")
    if NEVER in plain:
        plain, rest = plain[: plain.index(NEVER)], NEVER
    if rest is NEVER:
        most = len(plain) if most is None else min(int(most), len(plain))
    if most is not None and least > int(most):
        return NEVER
    if most == 0:
        return {"enum": [[]]}
    counts = {"minItems": least} if least else {}
    counts |= {} if most is None else {"maxItems": int(most)}
    made = {"prefixItems": plain} if plain else {}
    return {"type": "array", **made, "items": False if rest is NEVER else rest, **counts}


_MADE: Mapping[str, Callable[[Flat, str, Inner], Any]] = {
    "string": _string,
    "integer": integer,
    "number": number,
    "array": _array,
    "object": plain_object,
}
