"""`fjord run`: finds the server to chat with, or starts one for the time of the chat."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from server.cli.chat.chat import run_chat
from server.cli.chat.own_server import is_up, own_server
from server.cli.first_start import kept_key
from server.cli.registry_choice import open_registry
from server.refusal import CannotStart
from server.settings import Settings, read_settings

app = typer.Typer()


@app.command()
def run(
    model: Annotated[str | None, typer.Argument(help="An alias. [default: the first]")] = None,
    system: Annotated[str | None, typer.Option(help="A system prompt.")] = None,
    url: Annotated[
        str | None, typer.Option(help="The server. [default: this machine's, else one is started]")
    ] = None,
    api_key: Annotated[
        str | None, typer.Option(help="The key. [default: the one that the first start kept]")
    ] = None,
    port: Annotated[int | None, typer.Option(help="This machine's server. [default: 8080]")] = None,
    registry: Annotated[Path | None, typer.Option(help="For a server that is started.")] = None,
    profile: Annotated[str | None, typer.Option(help="For a server that is started.")] = None,
    engine: Annotated[str | None, typer.Option(help="For a server that is started.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Where the kept key lies.")] = None,
) -> None:
    """Chat in the terminal; in a pipe, answer what comes in: echo hi | fjord run"""
    serving: dict[str, Any] = {
        "registry": registry,
        "profile": profile,
        "engine": engine,
        "data_dir": data_dir,
    }
    settings = read_settings(url=url, api_key=api_key, port=port, **serving)
    with _server(settings, serving) as (base_url, key):
        raise typer.Exit(run_chat(base_url, key, model, system=system, **_money(settings)))


@contextmanager
def _server(settings: Settings, serving: dict[str, Any]) -> Iterator[tuple[str, str | None]]:
    key = settings.api_key or kept_key(settings.data_dir)
    here = f"http://127.0.0.1:{settings.port}"
    if settings.url is not None or is_up(here):
        yield settings.url or here, key
        return
    typer.echo("No server is running; starting one for this chat ...", err=True)
    flags = [(f"--{name.replace('_', '-')}", value) for name, value in serving.items() if value]
    with own_server([str(part) for flag in flags for part in flag]) as own_url:
        yield own_url, None


def _money(settings: Settings) -> dict[str, Any]:
    """The prices of this machine's registry; a server elsewhere has its own, unknown here."""
    if settings.url is not None:
        return {}
    try:
        registry = open_registry(settings)
    except CannotStart:
        return {}
    prices = {alias: model.price for alias, model in registry.models.items()}
    return {"prices": prices, "currency": registry.currency}
