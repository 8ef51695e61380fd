"""Where a `$ref` of a JSON schema leads, within its document."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from engines.answers.json_schema import each_schema

_MISSING = object()


class SchemaDocument:
    """One whole schema."""

    def __init__(self, root: Any) -> None:
        self.root = root
        self._anchors = {f"#{part['$anchor']}": part for part in _anchored(root)}

    def target(self, reference: Any) -> Any:
        """The schema that it names. Raises LookupError."""
        if reference in self._anchors:
            return self._anchors[reference]
        if reference != "#" and not str(reference).startswith("#/"):
            raise LookupError(reference)
        part = self.root
        for step in str(reference).split("/")[1:]:
            part = _inside(part, unquote(step).replace("~1", "/").replace("~0", "~"))
        return part


def _anchored(root: Any) -> Iterator[Any]:
    return (part for part in each_schema(root) if isinstance(part.get("$anchor"), str))


def _inside(part: Any, step: str) -> Any:
    found = part.get(step, _MISSING) if isinstance(part, dict) else _MISSING
    if isinstance(part, list) and step.isdecimal() and int(step) < len(part):
        found = part[int(step)]
    if found is _MISSING:
        raise LookupError(step)
    return found
