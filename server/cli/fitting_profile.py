"""Which profile of a registry a machine with cards is served with, where nobody says one."""

from pathlib import Path

from engines.planning.machine import Machine, this_machine
from engines.planning.plan import plan
from engines.registry.file import read_registry_file
from engines.registry.registry import Registry, load_registry
from server.cli.registry_facts import asked_of

LARGEST = "cuda"
"""The documented weights; the other profiles of a file that has it are smaller ones."""


def fitting_profile(path: Path, machine: Machine | None, data_dir: Path) -> str | None:
    """ "cuda" where all fits that it loads at the start, else the file's next profile of which that
    is true. None: the registry's own choice, as where no card can be read, or nothing is known of
    the models. Raises RegistryError."""
    found = machine or this_machine()
    profiles = tuple(read_registry_file(path).file.profiles)
    if not found.cards or LARGEST not in profiles:
        return None
    for name in (LARGEST, *(other for other in profiles if other != LARGEST)):
        if fits(load_registry(path, name), found, data_dir):
            return name
    return LARGEST


def fits(registry: Registry, machine: Machine, data_dir: Path) -> bool:
    """All that is loaded at the start at once; with nothing to load, any model. What is unknown
    counts as fitting, and so does a model of which fewer replicas have room than it should have."""
    preloaded = [model for model in registry.models.values() if model.preload]
    asked = asked_of(preloaded or registry.models.values(), data_dir, may_ask_hub=False)
    found = plan(asked, machine)
    never = [placed for placed in found.never if not placed.asked.spec.replica]
    if not preloaded:
        return len(never) < len(asked)
    return not never and found.turns <= 1
