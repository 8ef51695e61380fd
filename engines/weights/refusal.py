"""A model that this machine can never hold is refused before its weights are fetched."""

from collections.abc import Callable
from pathlib import Path

from engines.base import EngineNeverFits
from engines.host.child_job import Progress
from engines.planning.certainty import never_fits
from engines.planning.facts import FactsUnknown
from engines.planning.machine import Machine, this_machine
from engines.registry.spec import EngineSpec
from engines.weights.description import model_facts


def refuse_what_never_fits(
    spec: EngineSpec,
    data_dir: Path,
    progress: Progress,
    machine: Callable[[], Machine] = this_machine,
) -> None:
    """Blocks, for as long as the hub takes to describe a model that is not here. Raises
    EngineNeverFits with the numbers. What cannot be told is not refused."""
    try:
        facts = model_facts(spec, data_dir, progress=progress)
    except FactsUnknown:
        return
    reason = never_fits(spec, facts, machine())
    if reason is not None:
        raise EngineNeverFits(f"{reason}; `fjord plan` says what would fit")
