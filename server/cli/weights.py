"""`fjord weights …`: fetch, list, verify and remove the weights of a registry's models."""

import os
import shutil
from typing import Annotated, TypeAlias

import typer

from engines.base import EngineUnavailable
from engines.registry.registry import Registry
from engines.registry.sources import PACKAGE, is_local
from engines.weights.resolve import FetchSize, fetch_size, fetched
from engines.weights.store import weights_root
from server.cli import serving_options as options
from server.cli.apps import new_app
from server.cli.bars import Bar, size_words
from server.cli.chosen_models import Aliases, All, Weights, chosen_models, weights_of
from server.cli.registry_choice import open_registry
from server.cli.weights_kept import remove_weights, verify_weights
from server.cli.weights_shown import show_weights, weights_as_json
from server.refusal import CannotStart
from server.settings import Settings, read_settings

app = new_app(
    no_args_is_help=True,
    help="Fetch, list, verify and remove the models' weights.\n\n"
    "From a hub (HF_ENDPOINT, HF_TOKEN) into plain folders, one a commit, each with a\n"
    "manifest of its files: data/weights, or what FJORD_WEIGHTS_DIR names.",
)

AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="For programs.")]


@app.command()
def pull(
    aliases: Aliases = None,
    every: All = False,
    registry: options.RegistryFile = None,
    profile: options.Profile = None,
    engine: options.Engine = None,
    data_dir: options.DataDir = None,
) -> None:
    """Fetch what is missing, and what a branch has become.

    Several files at once, each gone on with where it ended, each compared with the hub's hash.
    That the disk has room is looked at first, for all models together.
    """
    settings = read_settings(registry=registry, profile=profile, engine=engine, data_dir=data_dir)
    chosen = weights_of(chosen_models(open_registry(settings), aliases or (), every))
    from_hub = [each for each in chosen if _is_from_hub(each)]
    for each in chosen:
        if each not in from_hub:
            typer.echo(f"{each.shown}: not of a hub, nothing to fetch")
    with Bar() as bar:
        sizes = [_size(each, settings, bar) for each in from_hub]
        _refuse_without_room(sizes, settings)
        for each, size in zip(from_hub, sizes, strict=True):
            _pull(each, size, settings, bar)


@app.command(name="list")
def list_command(
    registry: options.RegistryFile = None,
    profile: options.Profile = None,
    engine: options.Engine = None,
    data_dir: options.DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Say where every model's are, how large, under which licence."""
    settings = read_settings(registry=registry, profile=profile, engine=engine, data_dir=data_dir)
    found = weights_of(open_registry(settings).here)
    if as_json:
        typer.echo(weights_as_json(found, settings.data_dir))
    else:
        show_weights(found, settings.data_dir)


@app.command()
def verify(
    aliases: Aliases = None,
    every: All = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="Fetch the damaged files again, and those alone.")
    ] = False,
    registry: options.RegistryFile = None,
    profile: options.Profile = None,
    engine: options.Engine = None,
    data_dir: options.DataDir = None,
) -> None:
    """Compare every byte; name each file that differs.

    Exit status 1 where one does, unless --repair mended it.
    """
    settings = read_settings(registry=registry, profile=profile, engine=engine, data_dir=data_dir)
    chosen = weights_of(chosen_models(open_registry(settings), aliases or (), every))
    with Bar() as bar:
        wrong = [verify_weights(each, settings.data_dir, bar, repair=repair) for each in chosen]
    if any(wrong):
        raise typer.Exit(1)


@app.command()
def remove(
    aliases: Annotated[
        list[str] | None, typer.Argument(metavar="ALIAS", help="Remove the weights of these.")
    ] = None,
    every: All = False,
    registry: options.RegistryFile = None,
    profile: options.Profile = None,
    engine: options.Engine = None,
    data_dir: options.DataDir = None,
) -> None:
    """Delete what was fetched for these models.

    Weights that another model of the profile uses too stay, unless it is named as well.
    """
    settings = read_settings(registry=registry, profile=profile, engine=engine, data_dir=data_dir)
    if not (aliases or every):
        raise CannotStart("Say whose weights are to be removed: an alias, or --all.")
    opened = open_registry(settings)
    chosen = {model.alias for model in chosen_models(opened, aliases or (), every)}
    for each in _all_weights(opened):
        if chosen & set(each.aliases):
            remove_weights(each, chosen, settings.data_dir)


def _all_weights(registry: Registry) -> list[Weights]:
    return weights_of(registry.here)


def _is_from_hub(weights: Weights) -> bool:
    return not (weights.spec.source.startswith(PACKAGE) or is_local(weights.spec.source))


def _size(weights: Weights, settings: Settings, bar: Bar) -> FetchSize:
    try:
        return fetch_size(weights.spec, settings.data_dir, bar.progress, os.environ)
    except EngineUnavailable as error:
        raise CannotStart(str(error)) from None


def _refuse_without_room(sizes: list[FetchSize], settings: Settings) -> None:
    """All of them together: the last of several models would fail after hours."""
    missing = sum(size.missing for size in sizes)
    root = weights_root(settings.data_dir, os.environ)
    there = next(path for path in (root, *root.parents) if path.exists())
    free = shutil.disk_usage(there).free
    if missing > free:
        raise CannotStart(
            f"{size_words(missing)} are to be fetched and {root} has {size_words(free)} free. "
            "Make room, name fewer models, or a larger disk by FJORD_WEIGHTS_DIR."
        )


def _pull(weights: Weights, size: FetchSize, settings: Settings, bar: Bar) -> None:
    """Also where nothing is missing: the branch may point elsewhere now."""
    spec, data_dir = weights.spec, settings.data_dir
    try:
        path = fetched(spec, data_dir, bar.progress, os.environ, asks_hub=True)
    except EngineUnavailable as error:
        raise CannotStart(str(error)) from None
    licence = f", {size.licence}" if size.licence else ""
    did = f"{size_words(size.missing)} fetched" if size.missing else "all there"
    typer.echo(f"{weights.shown}: {did} ({size_words(size.size)}{licence})\n  {path}")
