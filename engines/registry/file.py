"""model_registry.yaml read and validated: every mistake with its file, line, model and key.

RegistryError   file, line, model, key, what is wrong and what would be right
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from engines.registry.access import AccessEntry, IssuerEntry, RuleEntry
from engines.registry.complaints import complaint, shown
from engines.registry.entries import (
    BatchEntry,
    DefaultsEntry,
    ModelEntry,
    OtherEngine,
    PriceEntry,
    ProfileEntry,
    ReasoningEntry,
    RegistryFile,
)
from engines.registry.seller import SellerEntry
from engines.registry.yaml import Location, YamlFile, YamlFileError, read_yaml
from engines.spelling import did_you_mean


class RegistryError(Exception):
    """The registry, or a choice from it, is wrong; the message has one line a mistake."""

    def __init__(self, message: str, place: str = "") -> None:
        super().__init__(message)
        self.place = place or message
        """FILE:LINE and key: equal for what one mistake does to several models."""

    @classmethod
    def of_all(cls, mistakes: "Sequence[RegistryError]") -> "RegistryError":
        """One error that says them all."""
        return cls("\n".join(map(str, mistakes)))


@dataclass(frozen=True, slots=True)
class Document:
    """The validated file, with the lines to blame."""

    path: Path
    file: RegistryFile
    yaml: YamlFile

    def error(self, location: Location, message: str) -> RegistryError:
        return _error(self.path, self.yaml.line(location), location, message)


def read_registry_file(path: Path) -> Document:
    """Raises RegistryError with everything that is wrong, in the order of the file."""
    try:
        yaml_file = read_yaml(path)
    except YamlFileError as e:
        where = f"{path}:{e.line}" if e.line else f"{path}"
        raise RegistryError(f"{where}: {e}") from e
    try:
        return Document(path, RegistryFile.model_validate(yaml_file.values), yaml_file)
    except ValidationError as e:
        raise _all_errors(path, yaml_file, e) from None


def _all_errors(path: Path, yaml_file: YamlFile, invalid: ValidationError) -> RegistryError:
    """In the order of the file."""
    errors = [(_location(e), e) for e in invalid.errors()]
    unknown = [at for at, error in errors if error["type"] == "extra_forbidden"]
    told = [
        (yaml_file.line(at), at, error)
        for at, error in errors
        # A key with a typo is both unknown and missing: the first of the two says more.
        if error["type"] != "missing" or not any(_is_meant(at, typo) for typo in unknown)
    ]
    told.sort(key=lambda each: each[0])
    return RegistryError.of_all([_error(path, n, at, _complaint(at, e)) for n, at, e in told])


def _is_meant(missing: Location, typo: Location) -> bool:
    """Whether an unknown key is a missing one, misspelt."""
    return missing[:-1] == typo[:-1] and bool(did_you_mean(str(typo[-1]), [str(missing[-1])]))


def _location(error: ErrorDetails) -> Location:
    return tuple(part for part in error["loc"] if part != "[key]")


def _complaint(location: Location, error: ErrorDetails) -> str:
    if not location and error["input"] is None:
        return "it is empty; right would be models, and under it an alias with its source"
    siblings, field = _schema(location)
    if error["type"] == "extra_forbidden":
        name = str(location[-1])
        meant = did_you_mean(name, siblings) or "."
        return f"unknown key{meant} Known: {', '.join(siblings)}"
    right = f"; right would be {field}" if field else ""
    if error["type"] == "missing":
        return f"is missing{right}"
    if "[key]" in error["loc"]:
        return f"{shown(error['input'])} is no possible name: {complaint(error)}"
    return f"{shown(error['input'])} is wrong: {complaint(error)}{right}"


def _schema(location: Location) -> tuple[list[str], str | None]:
    """The keys known beside a location, and the description of the nearest described one."""
    known: type[BaseModel] = RegistryFile
    description = None
    steps = list(location)
    while steps:
        name = str(steps.pop(0))
        if name not in known.model_fields:
            break
        description = known.model_fields[name].description
        inside, is_named = _INSIDE.get((known, name), (None, False))
        if inside is None or len(steps) <= is_named:
            break
        steps = steps[is_named:]
        known = inside
    return list(known.model_fields), description


_INSIDE: Mapping[tuple[type[BaseModel], str], tuple[type[BaseModel], bool]] = {
    (RegistryFile, "seller"): (SellerEntry, False),
    (RegistryFile, "access"): (AccessEntry, False),
    (AccessEntry, "issuers"): (IssuerEntry, True),
    (IssuerEntry, "rules"): (RuleEntry, True),
    (RegistryFile, "batch"): (BatchEntry, False),
    (RegistryFile, "models"): (ModelEntry, True),
    (RegistryFile, "profiles"): (ProfileEntry, True),
    (ProfileEntry, "all"): (ModelEntry, False),
    (ProfileEntry, "models"): (ModelEntry, True),
    (ModelEntry, "price"): (PriceEntry, False),
    (ModelEntry, "reasoning"): (ReasoningEntry, False),
    (ModelEntry, "also"): (OtherEngine, True),
    (ModelEntry, "defaults"): (DefaultsEntry, False),
}
"""The type behind a key, and whether a free name stands between them."""


def _error(path: Path, line: int, location: Location, message: str) -> RegistryError:
    """FILE:LINE: profile 'p', model 'm', key 'k': message."""
    parts, rest = [], list(location)
    while len(rest) > 1 and rest[0] in ("profiles", "models"):
        parts.append(f"{str(rest[0])[:-1]} {rest[1]!r}")
        rest = rest[2:]
    key = f"key {'.'.join(map(str, rest))!r}" if rest else ""
    of = ", ".join([*parts, key] if key else parts) or "the file"
    return RegistryError(f"{path}:{line}: {of}: {message}", f"{path}:{line}: {key}")
