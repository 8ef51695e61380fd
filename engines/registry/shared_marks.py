"""Aliases that share an engine share what it knows of thoughts, and its room for pictures: one that
thinks, one that does not, and the engine is still one."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TypeAlias

from engines.registry.spec import EngineSpec, ModelSpec

Others: TypeAlias = Mapping[str, Mapping[str, EngineSpec]]
"""Engine kind -> alias -> spec."""


def with_shared_marks(
    models: Mapping[str, ModelSpec], others: Others
) -> tuple[dict[str, ModelSpec], Others]:
    """The same, each engine with the marks of the first of its aliases that has some, and the most
    pictures of any."""
    own = [model.engine for model in models.values()]
    specs = [*own, *(spec for kind in others.values() for spec in kind.values())]
    marks, images = _marks(specs), _images(specs)

    def shared(spec: EngineSpec) -> EngineSpec:
        key = _bare(spec)
        return replace(spec, thinking=marks.get(key), images=images[key])

    return (
        {alias: replace(model, engine=shared(model.engine)) for alias, model in models.items()},
        {
            kind: {alias: shared(spec) for alias, spec in named.items()}
            for kind, named in others.items()
        },
    )


def _marks(specs: Iterable[EngineSpec]) -> dict[str, tuple[str, str]]:
    """By the engine's key without any."""
    found: dict[str, tuple[str, str]] = {}
    for spec in specs:
        if spec.thinking is not None:
            found.setdefault(_bare(spec), spec.thinking)
    return found


def _images(specs: Iterable[EngineSpec]) -> dict[str, int]:
    """As `_marks`."""
    found: dict[str, int] = {}
    for spec in specs:
        found[_bare(spec)] = max(found.get(_bare(spec), 0), spec.images)
    return found


def _bare(spec: EngineSpec) -> str:
    return replace(spec, thinking=None, images=0).key
