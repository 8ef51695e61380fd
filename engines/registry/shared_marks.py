"""Aliases that share an engine share what it knows of thoughts, its room for pictures, and on
llama.cpp its adapters: one that thinks, one that does not, and the engine is still one."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TypeAlias

from engines.base import Adapter
from engines.registry.spec import EngineSpec, ModelSpec

Others: TypeAlias = Mapping[str, Mapping[str, EngineSpec]]
"""Engine kind -> alias -> spec."""


def with_shared_marks(
    models: Mapping[str, ModelSpec], others: Others
) -> tuple[dict[str, ModelSpec], Others]:
    """The same, each engine with the marks of the first of its aliases that has some, the most
    pictures of any, and where it loads them at its start, everyone's adapters."""
    own = [model.engine for model in models.values()]
    specs = [*own, *(spec for kind in others.values() for spec in kind.values())]
    marks, images, adapters = _marks(specs), _images(specs), _adapters(models, others)

    def shared(spec: EngineSpec) -> EngineSpec:
        key = _bare(spec)
        own = tuple(adapters.get(key, {}).values())
        return replace(spec, thinking=marks.get(key), images=images[key], adapters=own)

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


def _adapters(models: Mapping[str, ModelSpec], others: Others) -> dict[str, dict[str, Adapter]]:
    """As `_marks`: by their names, each once."""
    found: dict[str, dict[str, Adapter]] = {}
    for alias, model in models.items():
        for spec in (model.engine, *(named[alias] for named in others.values() if alias in named)):
            if model.adapter is not None and spec.kind == "llamacpp":
                found.setdefault(_bare(spec), {})[model.adapter.name] = model.adapter
    return found


def _bare(spec: EngineSpec) -> str:
    return replace(spec, thinking=None, images=0).key
