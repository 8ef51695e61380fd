"""`fjord prepare`: everything that a first start would do before its engines load."""

import sys
from collections.abc import Sequence

import typer

from engines.base import EngineUnavailable
from engines.registry.spec import Source
from engines.weights.resolve import resolve
from server.cli.announce import key_lines
from server.cli.bars import Bar
from server.cli.chosen_models import chosen_models, weights_of
from server.cli.first_start import first_key, prepare_data_dir
from server.cli.registry_choice import open_registry
from server.cli.trouble import told
from server.http.web_pages import is_loopback
from server.ledger import sqlite
from server.refusal import CannotStart
from server.settings import Settings


def prepare(settings: Settings, aliases: Sequence[str] = (), *, every: bool = False) -> None:
    """Fetch for `aliases` (none: those that are preloaded), or for `every` one. Raises CannotStart.
    A second call finds everything there and is quick."""
    models = chosen_models(open_registry(settings), aliases, every)
    prepare_data_dir(settings.data_dir)
    for each in weights_of(models):
        typer.echo(f"weights of {each.spec.source}: {_fetched(each.spec, settings)}")
    _make_key(settings)


def _fetched(spec: Source, settings: Settings) -> str:
    with Bar() as bar:
        try:
            return str(resolve(spec, settings.data_dir, bar.progress))
        except EngineUnavailable as error:
            raise CannotStart(str(error)) from None


def _make_key(settings: Settings) -> None:
    if settings.ledger_url is not None:
        return
    can_show = sys.stdout.isatty()
    with told():
        ledger = sqlite.prepared_ledger(settings.data_dir)
        key = first_key(settings.data_dir, ledger, keep=is_loopback(settings.host), show=can_show)
    if key is not None and key.is_new:
        typer.echo("\n".join(key_lines(key, show=can_show, is_exposed=False)))
