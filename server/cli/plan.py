"""`fjord plan`: which models fit on which cards together, before a byte of weights moves."""

import json
from typing import Annotated

import typer

from engines.fleet.planned_sleep import planned_sleep
from engines.planning.cards import BadCards, parse_cards
from engines.planning.machine import Machine, this_machine
from engines.planning.measured import MeasuredMemory
from engines.planning.plan import FleetPlan, plan
from engines.registry.registry import Registry, load_registry
from engines.spelling import did_you_mean
from server.cli import serving_options as options
from server.cli.apps import new_app
from server.cli.engine_memory import sleep_rules
from server.cli.fitting_profile import fits
from server.cli.options import AsJson
from server.cli.plan_json import plan_as_json
from server.cli.plan_page import show_plan
from server.cli.registry_choice import open_registry, registry_path
from server.cli.registry_facts import asked_of
from server.refusal import CannotStart
from server.settings import Settings, read_settings

app = new_app()
AUTO = "auto"
Gpus = Annotated[
    str, typer.Option(help="8x80, 2x24, 8xH100-80, 4x80,2x24; auto: those of this machine.")
]
Aliases = Annotated[
    list[str] | None,
    typer.Option(metavar="A,B", help="These models alone. Repeatable. [default: all]"),
]


@app.command(name="plan")
def plan_command(
    profile: options.Profile = None,
    gpus: Gpus = AUTO,
    aliases: Aliases = None,
    as_json: AsJson = False,
    registry: options.RegistryFile = None,
    engine: options.Engine = None,
    model: options.Models = None,
    engine_arg: options.EngineArgs = None,
    data_dir: options.DataDir = None,
    sleep_memory: options.SleepMemory = None,
) -> None:
    """Say which models fit on which cards.

    At once, by turns (and which with which), or never, and then what would.

    Sizes come from the weights on this disk, from Fjord itself for its own registry, else from the
    hub, without the weights. What sleeps on another machine (--gpus) is said where --sleep-memory
    is given. Exit status 1 where a model never fits, or never beside pinned ones.
    """
    machine = machine_of(gpus)
    settings = read_settings(
        profile=profile,
        registry=registry,
        engine=engine,
        model=model,
        engine_arg=engine_arg,
        data_dir=data_dir,
        sleep_memory_gb=sleep_memory,
    )
    opened = open_registry(settings, machine)
    found = planned(opened, aliases or [], machine, settings)
    others = _others(opened, machine, settings) if found.never else []
    with_sleep = planned_sleep(found, _sleep_memory(settings, is_here=gpus == AUTO))
    if as_json:
        typer.echo(json.dumps(plan_as_json(with_sleep, opened.profile, others), indent=2))
    else:
        show_plan(with_sleep, opened.profile, others)
    if not found.is_possible:
        raise typer.Exit(1)


def machine_of(gpus: str) -> Machine:
    """Raises CannotStart."""
    if gpus == AUTO:
        return this_machine()
    try:
        return Machine(cards=parse_cards(gpus))
    except BadCards as error:
        raise CannotStart(f"--gpus {error}.") from None


def _sleep_memory(settings: Settings, *, is_here: bool) -> int | None:
    """As a server takes it at its start; None: nobody says it of another machine."""
    if settings.sleep_memory_gb is None and not is_here:
        return None
    return sleep_rules(settings).host_bytes


def planned(
    registry: Registry, aliases: list[str], machine: Machine, settings: Settings
) -> FleetPlan:
    """Raises CannotStart for an alias that the registry has not."""
    wanted = [name.strip() for each in aliases for name in each.split(",") if name.strip()]
    for name in wanted:
        if name not in registry.models:
            raise CannotStart(
                f"--aliases {name}: profile {registry.profile} has no such model"
                f"{did_you_mean(name, registry.models)}; it has {', '.join(registry.models)}."
            )
    chosen = [m for m in registry.here if not wanted or m.alias in wanted]
    asked = asked_of(chosen, settings.data_dir)
    return plan(asked, machine, MeasuredMemory(settings.data_dir))


def _others(registry: Registry, machine: Machine, settings: Settings) -> list[str]:
    """The file's other profiles that fit at once."""
    if settings.model:
        return []
    path = registry_path(settings.registry)
    names = [name for name in registry.profiles if name != registry.profile]
    loaded = {name: load_registry(path, name) for name in names}
    return [name for name, other in loaded.items() if fits(other, machine, settings.data_dir)]
