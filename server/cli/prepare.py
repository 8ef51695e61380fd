"""`fjord prepare`: everything that a first start would do before its engines load."""

import sys

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from engines.base import EngineUnavailable
from engines.registry.spec import EngineSpec
from engines.weights.resolve import resolve
from server.cli.announce import key_lines
from server.cli.first_start import first_key, prepare_data_dir
from server.cli.registry_choice import open_registry
from server.http.web_pages import is_loopback
from server.ledger import sqlite
from server.ledger.errors import LedgerError
from server.refusal import CannotStart
from server.settings import Settings


def prepare(settings: Settings) -> None:
    """Raises CannotStart. A second call finds everything there and is quick."""
    prepare_data_dir(settings.data_dir)
    registry = open_registry(settings)
    specs = {m.engine.key: m.engine for m in registry.models.values() if m.preload}
    for spec in specs.values():
        if spec.kind != "scripted":
            typer.echo(f"weights of {spec.source}: {_fetched(spec, settings)}")
    _make_key(settings)


def _fetched(spec: EngineSpec, settings: Settings) -> str:
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, transient=True) as bars:
        task = bars.add_task(spec.source, total=None)

        def progress(what: str, done: int | None, total: int | None) -> None:
            bars.update(task, description=what, completed=done or 0, total=total)

        try:
            return str(resolve(spec, settings.data_dir, progress))
        except EngineUnavailable as error:
            raise CannotStart(str(error)) from None


def _make_key(settings: Settings) -> None:
    if settings.ledger_url is not None:
        return
    try:
        ledger = sqlite.prepared_ledger(settings.data_dir)
    except LedgerError as error:
        raise CannotStart(str(error)) from None
    can_show = sys.stdout.isatty()
    key = first_key(settings.data_dir, ledger, keep=is_loopback(settings.host), show=can_show)
    if key is not None and key.is_new:
        typer.echo("\n".join(key_lines(key, show=can_show, is_exposed=False)))
