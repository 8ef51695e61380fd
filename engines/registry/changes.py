"""What differs between a registry and the same one read again: pure."""

from dataclasses import dataclass, fields
from typing import Literal, TypeAlias

from engines.registry.registry import Registry
from engines.registry.spec import ModelSpec

Kind: TypeAlias = Literal["added", "removed", "changed", "restarted"]
"""restarted: its engine is another one, and the former ends once its requests have ended."""


@dataclass(frozen=True, slots=True)
class ModelChange:
    """`keys`: what differs of it, by the names of a ModelSpec."""

    alias: str
    kind: Kind
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RegistryChange:
    """`keys`: what differs of the whole file."""

    models: tuple[ModelChange, ...] = ()
    keys: tuple[str, ...] = ()


_OF_THE_FILE = (
    "currency",
    "rates",
    "regions",
    "batch_price_factor",
    "list_other_names",
    "cluster",
    "access",
    "seller",
)


def registry_change(old: Registry, new: Registry) -> RegistryChange:
    """In the new registry's order, what is removed at the end."""
    models = [_changed(old.models[a], spec) for a, spec in new.models.items() if a in old.models]
    found = {change.alias: change for change in models if change.keys}
    found |= {a: ModelChange(a, "added") for a in new.models if a not in old.models}
    ordered = [found[alias] for alias in new.models if alias in found]
    removed = [ModelChange(a, "removed") for a in old.models if a not in new.models]
    keys = tuple(k for k in _OF_THE_FILE if getattr(old, k) != getattr(new, k))
    return RegistryChange((*ordered, *removed), keys)


def _changed(old: ModelSpec, new: ModelSpec) -> ModelChange:
    names = [each.name for each in fields(ModelSpec)]
    keys = tuple(name for name in names if getattr(old, name) != getattr(new, name))
    kind: Kind = "changed" if old.engine.key == new.engine.key else "restarted"
    return ModelChange(new.alias, kind, keys)
