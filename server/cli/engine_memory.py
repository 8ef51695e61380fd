"""The memory that the engines of `fjord serve` share, as it is planned at the start."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from engines.fleet.node_memory import Elsewhere, NodeMemory
from engines.fleet.shares import NodeShares
from engines.fleet.sleep_rules import SleepRules
from engines.planning.facts import FactsUnknown, ModelFacts
from engines.planning.machine import Machine, free_card_bytes, free_host_bytes
from engines.planning.measured import MeasuredMemory
from engines.planning.plan import AskedEngine
from engines.registry.spec import EngineSpec
from engines.weights.description import model_facts
from server.settings import Settings


def node_memory(
    settings: Settings,
    asked: Sequence[AskedEngine],
    machine: Machine,
    elsewhere: Elsewhere | None = None,
) -> NodeMemory:
    """Asks no hub: what a model takes that is not here yet, and does not ship with the registry, is
    looked at once it is."""
    shares = NodeShares(
        asked,
        machine,
        partial(_facts_here, settings.data_dir),
        MeasuredMemory(settings.data_dir),
        _bytes(settings.engine_memory_gb),
    )
    return NodeMemory(
        shares.room,
        shares.need,
        free_card_bytes,
        note=shares.note,
        plan=shares.plan,
        elsewhere=elsewhere,
    )


def sleep_rules(settings: Settings) -> SleepRules:
    """By what is free of the machine's memory now: before an engine is started."""
    said = _bytes(settings.sleep_memory_gb)
    return SleepRules(host_bytes=free_host_bytes() // 2 if said is None else said)


def _bytes(gigabytes: float | None) -> int | None:
    return None if gigabytes is None else int(gigabytes * 1e9)


def _facts_here(data_dir: Path, spec: EngineSpec) -> ModelFacts | None:
    try:
        return model_facts(spec, data_dir, may_ask_hub=False)
    except FactsUnknown:
        return None
