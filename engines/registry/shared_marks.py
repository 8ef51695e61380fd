"""Aliases that share an engine share what it knows of thoughts: one that thinks, one that does not,
and the engine is still one."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TypeAlias

from engines.registry.spec import EngineSpec, ModelSpec

Others: TypeAlias = Mapping[str, Mapping[str, EngineSpec]]
"""Engine kind -> alias -> spec."""


def with_shared_marks(
    models: Mapping[str, ModelSpec], others: Others
) -> tuple[dict[str, ModelSpec], Others]:
    """The same, each engine with the marks of the first of its aliases that has some."""
    specs = [model.engine for model in models.values()]
    marks = _marks([*specs, *(spec for kind in others.values() for spec in kind.values())])
    shared = {
        alias: replace(model, engine=_with(model.engine, marks)) for alias, model in models.items()
    }
    other = {
        kind: {alias: _with(spec, marks) for alias, spec in specs.items()}
        for kind, specs in others.items()
    }
    return shared, other


def _marks(specs: Iterable[EngineSpec]) -> dict[str, tuple[str, str]]:
    """By the engine's key without any."""
    found: dict[str, tuple[str, str]] = {}
    for spec in specs:
        if spec.thinking is not None:
            found.setdefault(_bare(spec), spec.thinking)
    return found


def _with(spec: EngineSpec, marks: Mapping[str, tuple[str, str]]) -> EngineSpec:
    return replace(spec, thinking=marks.get(_bare(spec)))


def _bare(spec: EngineSpec) -> str:
    return replace(spec, thinking=None).key
