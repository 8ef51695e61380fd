"""Which of a registry's models a command is for: those that are named, all, or the preloaded."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, TypeAlias

import typer

from engines.registry.registry import Registry
from engines.registry.spec import AdapterSource, ModelSpec, Source
from engines.spelling import did_you_mean
from server.refusal import CannotStart

Aliases: TypeAlias = Annotated[
    list[str] | None,
    typer.Argument(metavar="ALIAS", help="These models. [default: the preloaded ones]"),
]
All: TypeAlias = Annotated[bool, typer.Option("--all", help="Every model of the profile.")]


@dataclass(frozen=True, slots=True)
class Weights:
    """One model's files, and the aliases that they serve."""

    spec: Source
    aliases: tuple[str, ...]

    @property
    def shown(self) -> str:
        """As an operator writes the source."""
        file = f":{self.spec.file}" if self.spec.file else ""
        return f"{self.spec.source}{file}"


def chosen_models(registry: Registry, aliases: Sequence[str], every: bool) -> list[ModelSpec]:
    """Also by their other names. Raises CannotStart for one that the profile lacks."""
    known = registry.models
    if every:
        return list(known.values())
    if not aliases:
        return [model for model in known.values() if model.preload]
    found = {alias: registry.names.find(alias) for alias in aliases}
    for alias, model in found.items():
        if model is None:
            raise CannotStart(
                f"Profile {registry.profile} has no model {alias!r}"
                f"{did_you_mean(alias, known)}; its models: {', '.join(known)}."
            )
    return [known[model.alias] for model in found.values() if model is not None]


def weights_of(models: Iterable[ModelSpec]) -> list[Weights]:
    """Each once, whatever else its engines are given. A scripted model has none but its adapter."""
    found: dict[tuple[str | None, ...], tuple[Source, list[str]]] = {}
    for model in models:
        for spec in _sources(model):
            key = (spec.kind, spec.source, spec.revision, spec.file, spec.projector)
            found.setdefault(key, (spec, []))[1].append(model.alias)
    return [Weights(spec, tuple(aliases)) for spec, aliases in found.values()]


def _sources(model: ModelSpec) -> Iterator[Source]:
    if model.engine.kind != "scripted":
        yield model.engine
    if model.adapter is not None:
        yield AdapterSource.of(model.adapter)
