"""The models of a registry, as a plan asks for them: an engine a row, with what is known of it."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

from engines.planning.certainty import never_fits
from engines.planning.facts import FactsUnknown
from engines.planning.machine import Machine
from engines.planning.plan import AskedEngine
from engines.registry.spec import ModelSpec
from engines.weights.description import model_facts

SIDE_BY_SIDE = 8
"""Questions to the hub."""


def asked_of(
    models: Iterable[ModelSpec], data_dir: Path, *, may_ask_hub: bool = True
) -> list[AskedEngine]:
    """Aliases that share an engine are one."""
    shared: dict[str, list[ModelSpec]] = {}
    for model in models:
        shared.setdefault(model.engine.key, []).append(model)
    one = partial(_asked, data_dir=data_dir, may_ask_hub=may_ask_hub)
    with ThreadPoolExecutor(SIDE_BY_SIDE) as threads:
        return list(threads.map(one, shared.values()))


def _asked(models: list[ModelSpec], data_dir: Path, may_ask_hub: bool) -> AskedEngine:
    asked = AskedEngine(
        spec=models[0].engine,
        aliases=tuple(model.alias for model in models),
        preload=any(model.preload for model in models),
        is_pinned=any(model.is_pinned for model in models),
        replicas=max(model.replicas for model in models),
    )
    if asked.spec.kind == "scripted":
        return replace(asked, unknown="it has no weights")
    try:
        return replace(asked, facts=model_facts(asked.spec, data_dir, may_ask_hub=may_ask_hub))
    except FactsUnknown as error:
        return replace(asked, unknown=str(error))


def never_fitting(asked: Iterable[AskedEngine], machine: Machine) -> list[str]:
    """A line for each engine that this machine can never hold, whatever the estimates are."""
    reasons = {
        each.aliases: never_fits(each.spec, each.facts, machine) for each in asked if each.facts
    }
    return [f"{', '.join(names)} never fits: {why}" for names, why in reasons.items() if why]
