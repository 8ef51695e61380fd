"""`fjord run`: finds the server to chat with, or starts one for the time of the chat."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from server.cli.apps import new_app
from server.cli.chat.chat import run_chat
from server.cli.chat.own_server import is_up, own_server
from server.cli.link import Link
from server.cli.server_address import ApiKey, DataDir, Port, ServerAddress, Url, server_address
from server.settings import Settings, read_settings

app = new_app()


@app.command()
def run(
    model: Annotated[str | None, typer.Argument(help="An alias. [default: the first]")] = None,
    prompt: Annotated[
        list[str] | None, typer.Argument(help="A question: one answer, and no chat.")
    ] = None,
    system: Annotated[str | None, typer.Option(help="A system prompt.")] = None,
    url: Url = None,
    port: Port = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
    registry: Annotated[Path | None, typer.Option(help="For a server that is started.")] = None,
    profile: Annotated[str | None, typer.Option(help="For a server that is started.")] = None,
    engine: Annotated[str | None, typer.Option(help="For a server that is started.")] = None,
) -> None:
    """Chat in the terminal. One answer instead: fjord run MODEL "a question", or in a pipe:
    echo hi | fjord run. Where no server runs, one is started for as long."""
    serving: dict[str, Any] = {
        "registry": registry,
        "profile": profile,
        "engine": engine,
        "data_dir": data_dir,
    }
    settings = read_settings(url=url, api_key=api_key, port=port, **serving)
    question = " ".join(prompt or ()) or None
    with _server(settings, serving) as address:
        raise typer.Exit(run_chat(address.api, address.key, model, question, system=system))


@contextmanager
def _server(settings: Settings, serving: dict[str, Any]) -> Iterator[ServerAddress]:
    address = server_address(settings)
    if settings.url is not None or is_up(address.api):
        yield address
        return
    typer.echo("No server is running; starting one for this chat ...", err=True)
    flags = [(f"--{name.replace('_', '-')}", value) for name, value in serving.items() if value]
    with own_server([str(part) for flag in flags for part in flag]) as own_url:
        yield ServerAddress(Link(own_url), Link(own_url), None)
