"""The registry: whether it is right, its engines are installed and it has room."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from engines.base import EngineUnavailable
from engines.build import missing_library
from engines.planning.machine import Machine, this_machine
from engines.planning.measured import MeasuredMemory
from engines.planning.plan import plan
from engines.registry.registry import Registry
from engines.weights.present import present_weights
from engines.weights.verifying import verify
from server.cli.chosen_models import chosen_models, weights_of
from server.cli.doctor.diagnosis import Diagnosis, bad, note, ok
from server.cli.registry_choice import INSTALL, open_registry
from server.cli.registry_facts import asked_of
from server.settings import Settings

NAMED = 3


def registry(settings: Settings) -> Iterator[Diagnosis]:
    """Raises CannotStart with a line for each mistake."""
    opened = open_registry(settings)
    yield ok("registry", f"profile {opened.profile}: {_few(list(opened.models))}")
    yield from _libraries(opened)
    yield from _weights(opened, settings)
    yield _fits(opened, settings)


def _libraries(opened: Registry) -> Iterator[Diagnosis]:
    for kind in dict.fromkeys(model.engine.kind for model in opened.here):
        library = missing_library(kind)
        if library is not None:
            yield bad("engine", f"{library} is not installed", INSTALL.get(kind, ""))
        else:
            yield ok("engine", f"{kind} is installed")


def _weights(opened: Registry, settings: Settings) -> Iterator[Diagnosis]:
    """Of the models that are loaded at the start: here, and byte for byte what was fetched."""
    for weights in weights_of(chosen_models(opened, (), every=False)):
        try:
            path = present_weights(weights.spec, settings.data_dir)
            damage = verify(weights.spec, path, _quiet).damage if path else ()
        except EngineUnavailable as error:
            yield bad("weights", str(error), "")
            continue
        if damage:
            words = f"{weights.shown}: {_few([str(each) for each in damage])}"
            yield bad("weights", words, "`fjord weights verify --repair` mends them")
        elif path is None:
            words = f"{weights.shown} is not here"
            how = "`fjord weights pull` fetches it"
            yield bad("weights", words, how) if settings.offline else note("weights", words, how)
        else:
            yield ok("weights", f"{weights.shown} is here")


def _quiet(what: str, done: int | None, total: int | None) -> None:
    pass


def _fits(opened: Registry, settings: Settings) -> Diagnosis:
    """By what is known without a network."""
    asked = asked_of(opened.here, settings.data_dir, may_ask_hub=False)
    found = plan(asked, _machine(settings), MeasuredMemory(settings.data_dir))
    if found.never:
        names = _few([alias for each in found.never for alias in each.asked.aliases])
        return bad("room", f"never fits: {names}", "`fjord plan` says what would")
    unknown = [alias for each in asked if each.facts is None for alias in each.aliases]
    if unknown:
        words = f"not known for {_few(unknown)}"
        return note("room", words, "`fjord plan` asks the hub for their sizes")
    turns = f"they fit by {found.turns} turns"
    return ok("room", "all fit at once" if found.turns < 2 else turns)


def _machine(settings: Settings) -> Machine:
    """With what engines may have of its memory."""
    machine = this_machine()
    said = settings.engine_memory_gb
    return machine if said is None else replace(machine, host_bytes=int(said * 1e9))


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
