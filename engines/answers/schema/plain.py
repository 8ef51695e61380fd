"""A JSON schema -> one in few words that say the same, each of which a grammar enforces.

What comes out knows `$ref` and `anyOf`, each alone; `enum` alone; and one `type` with its own
keywords. `allOf`, `oneOf`, and keywords beside a reference are put together here. What cannot be
said so is refused with its path: nothing that a schema asks for is left out.
"""

from collections.abc import Callable, Sequence
from typing import Any

from engines.answers.schema.conjunction import Clash, Flat, conjunction, normal_types
from engines.answers.schema.disjoint import are_disjoint
from engines.answers.schema.endless import check_ends
from engines.answers.schema.keywords import COMBINING, ENFORCED, check_refused, unenforceable
from engines.answers.schema.parts import NEVER, Inner, any_of
from engines.answers.schema.references import SchemaDocument
from engines.answers.schema.shapes import misshapen
from engines.answers.schema.types import FORMATS, plain_types
from engines.base import InvalidRequest

_MOST_SCHEMAS = 20_000
"""Read or put together for one request: allOf of anyOfs multiplies."""


def plain_schema(schema: Any, field: str) -> dict[str, Any]:
    """`field` is named where the schema is refused. Raises InvalidRequest."""
    try:
        return _Plain(SchemaDocument(schema), field).whole()
    except RecursionError:
        raise InvalidRequest(f"{field} is nested too deeply.", field) from None
    except (TypeError, AttributeError, ArithmeticError) as error:
        raise InvalidRequest(f"{field} is no JSON schema: {error}", field) from error


class ApartOneOfs:
    """The `oneOf`s of one document whose schemas cannot both fit a value, for a library that sees
    fewer of them apart (not those of numbers, nor of references) and whose objects are open unless
    they say otherwise. `closed`: a part whose oneOf has closed branches, where that may be."""

    def __init__(
        self,
        root: Any,
        field: str,
        closed: Callable[[dict[str, Any]], dict[str, Any]] = lambda part: part,
    ) -> None:
        self._plain = _Plain(SchemaDocument(root), field)
        self._closed = closed

    def as_any_of(self, part: dict[str, Any]) -> dict[str, Any]:
        """The same schema, with `anyOf` in its place where that says the same."""
        branches = self._closed(part).get("oneOf")
        if not isinstance(branches, list) or not self._are_apart(branches):
            return part
        rest = {key: value for key, value in part.items() if key != "oneOf"}
        if "anyOf" not in rest:
            return rest | {"anyOf": branches}
        return rest | {"allOf": [*rest.get("allOf", ()), {"anyOf": branches}]}

    def _are_apart(self, branches: list[Any]) -> bool:
        try:
            return self._plain.are_apart(branches)
        except (InvalidRequest, TypeError, AttributeError, ArithmeticError):
            return False  # it is for the library to say what it makes of them


class _Plain:
    """The work on one document."""

    def __init__(self, document: SchemaDocument, field: str) -> None:
        self._document = document
        self._field = field
        self._names: dict[str, str] = {}
        self._waiting: list[str] = []
        self._schemas = 0

    def whole(self) -> dict[str, Any]:
        definitions: dict[str, Any] = {}
        root: Any = self.plain(self._document.root, "#")
        while self._waiting:
            reference = self._waiting.pop()
            definitions[self._names[reference]] = self.plain(self._target(reference), reference)
        if root is NEVER or NEVER in definitions.values():
            raise InvalidRequest(f"{self._field}: no value fits the schema.", self._field)
        self._check_grounded({"": root, **definitions})
        check_ends(self._document.root, self._field)
        return {**root, **({"$defs": definitions} if definitions else {})}

    def are_apart(self, branches: list[Any]) -> bool:
        """Whether no value fits two of these schemas, as far as can be seen. Objects are open."""
        expanded = [self._expanded(each, "#", ()) for each in branches]
        return are_disjoint(expanded, self._constants, are_open=True)

    def plain(self, schema: Any, path: str) -> Any:
        """NEVER: nothing fits it."""
        own = self._own(schema, path)
        if own is NEVER:
            return NEVER
        if own.keys() == {"$ref"}:
            return {"$ref": f"#/$defs/{self._name(own['$ref'], path)}"}
        if own.keys() == {"anyOf"}:
            parts = enumerate(own["anyOf"])
            return any_of([self.plain(each, f"{path}/anyOf/{i}") for i, each in parts])
        inner = Inner(self.plain, self._field)
        return any_of([plain_types(flat, path, inner) for flat in self._flats(own, path, ())])

    def _own(self, schema: Any, path: str) -> Any:
        """Its keywords that ask for something. Raises InvalidRequest for what is refused."""
        self._spend(1)
        if isinstance(schema, bool):
            return {} if schema else NEVER
        if not isinstance(schema, dict):
            raise unenforceable(path, self._field, "it is no schema")
        check_refused(schema, path, self._field)
        own = {key: value for key, value in schema.items() if key in ENFORCED}
        if wrong := misshapen(own):
            raise unenforceable(f"{path}/{wrong}", self._field, "its value is of another kind")
        own |= _unevaluated(schema, own, path, self._field)
        return _with_enum(_modern(own, schema.get("additionalItems", True)))

    def _flats(self, own: Any, path: str, inlined: Sequence[str]) -> list[Flat]:
        """The alternatives that a schema's keywords come to."""
        base = {key: value for key, value in own.items() if key not in COMBINING}
        flats = [base | ({"type": normal_types(base["type"])} if "type" in base else {})]
        for alternatives in self._combined(own, path, inlined):
            flats = self._product(flats, alternatives, path)
        return flats

    def _combined(self, own: Any, path: str, inlined: Sequence[str]) -> list[list[Flat]]:
        combined = []
        if "$ref" in own:
            combined.append(self._inlined(own["$ref"], path, inlined))
        for key in ("allOf", "anyOf", "oneOf"):
            parts = enumerate(own.get(key, []))
            expanded = [self._expanded(each, f"{path}/{key}/{i}", inlined) for i, each in parts]
            if key == "allOf":
                combined += expanded
            elif key in own:
                if key == "oneOf" and not are_disjoint(expanded, self._constants):
                    reason = "several of its schemas may fit one value"
                    raise unenforceable(f"{path}/oneOf", self._field, reason)
                combined.append([flat for flats in expanded for flat in flats])
        return combined

    def _expanded(self, schema: Any, path: str, inlined: Sequence[str]) -> list[Flat]:
        own = self._own(schema, path)
        return [] if own is NEVER else self._flats(own, path, inlined)

    def _inlined(self, reference: Any, path: str, inlined: Sequence[str]) -> list[Flat]:
        if reference in inlined:
            raise unenforceable(f"{path}/$ref", self._field, "it refers to itself")
        target = self._target(reference)
        return self._expanded(target, str(reference), (*inlined, reference))

    def _constants(self, schema: Any) -> list[Any] | None:
        """The only values of a schema, where it names them."""
        flats = self._expanded(schema, "#", ())
        if not all("enum" in flat for flat in flats):
            return None
        return [value for flat in flats for value in flat["enum"]]

    def _product(self, left: list[Flat], right: list[Flat], path: str) -> list[Flat]:
        self._spend(len(left) * len(right))
        try:
            merged = [conjunction(a, b) for a in left for b in right]
        except Clash as clash:
            reason = "two schemas that both must hold ask for different things in it"
            raise unenforceable(f"{path}/{clash}", self._field, reason) from None
        return [flat for flat in merged if flat is not None]

    def _name(self, reference: Any, path: str) -> str:
        if reference not in self._names:
            self._target(reference)
            self._names[reference] = f"d{len(self._names)}"
            self._waiting.append(reference)
        return self._names[reference]

    def _target(self, reference: Any) -> Any:
        try:
            return self._document.target(reference)
        except LookupError:
            reason = "it leads to nothing in the schema"
            raise unenforceable(f"$ref {str(reference)!r}", self._field, reason) from None

    def _spend(self, schemas: int) -> None:
        self._schemas += schemas
        if self._schemas > _MOST_SCHEMAS:
            message = f"{self._field} comes to more than {_MOST_SCHEMAS} schemas."
            raise InvalidRequest(message, self._field)

    def _check_grounded(self, definitions: dict[str, Any]) -> None:
        """No definition is itself, or itself or something else: that grammar never begins."""
        for name in definitions:
            seen, waiting = set[str](), _heads(definitions[name])
            while waiting:
                head = waiting.pop()
                if head == name:
                    raise unenforceable("$ref", self._field, "it refers to itself")
                waiting += [] if head in seen else _heads(definitions[head])
                seen.add(head)


def _heads(schema: Any) -> list[str]:
    """The definitions that a schema may be, as it is."""
    if "$ref" in schema:
        return [schema["$ref"].removeprefix("#/$defs/")]
    return [name for each in schema.get("anyOf", ()) for name in _heads(each)]


def _with_enum(own: dict[str, Any]) -> dict[str, Any]:
    """`const` is an enum of one."""
    if "const" not in own:
        return own
    only = own.pop("const")
    if "enum" in own and only not in own["enum"]:
        return own | {"enum": []}
    return own | {"enum": [only]}


def _modern(own: dict[str, Any], additional_items: Any) -> dict[str, Any]:
    """What draft 4 says otherwise, and no formats that are annotations."""
    for exclusive, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if isinstance(own.get(exclusive), bool) and own.pop(exclusive) and bound in own:
            own[exclusive] = own.pop(bound)
    if isinstance(own.get("required"), bool):
        del own["required"]
    if isinstance(own.get("items"), list):
        own |= {"prefixItems": own["items"], "items": additional_items}
    if own.get("format") not in FORMATS:
        own.pop("format", None)
    return own


def _unevaluated(schema: Any, own: dict[str, Any], path: str, field: str) -> dict[str, Any]:
    """Where no schema is laid over another, what is not evaluated is what is not named."""
    found = {}
    for key, same in (
        ("unevaluatedProperties", "additionalProperties"),
        ("unevaluatedItems", "items"),
    ):
        if schema.get(key, True) in (True, {}) or same in own:
            continue
        if not COMBINING.isdisjoint(own):
            raise unenforceable(f"{path}/{key}", field, "schemas are laid over each other here")
        found[same] = schema[key]
    return found
