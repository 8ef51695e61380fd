"""`fjord models …`: list the models; load, unload, put to sleep, pin and unpin those of a running
server."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

from engines.fleet.commands import Command
from server.cli import server_address
from server.cli import serving_options as options
from server.cli.apps import new_app
from server.cli.models_shown import show_models
from server.cli.operator_client import OperatorClient, operator_client
from server.refusal import CannotStart
from server.settings import read_settings

app = new_app(invoke_without_command=True)

AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="For programs.")]
Alias: TypeAlias = Annotated[
    str, typer.Argument(metavar="ALIAS", help="A model's alias, or what else it is known as.")
]
NoWait: TypeAlias = Annotated[
    bool, typer.Option("--no-wait", help="Return once it is begun, not once it is done.")
]
DataDir: TypeAlias = Annotated[
    Path | None,
    typer.Option(help="The server's: who may read it needs no key. [default: data]"),
]
AdminKey: TypeAlias = Annotated[
    str | None, typer.Option(help="An admin key. [default: none is needed on its machine]")
]


@app.callback()
def models(
    context: typer.Context,
    url: server_address.Url = None,
    port: server_address.Port = None,
    host: Annotated[str | None, typer.Option(help="Beside --port. [default: 127.0.0.1]")] = None,
    api_key: server_address.ApiKey = None,
    data_dir: server_address.DataDir = None,
    registry: options.RegistryFile = None,
    profile: options.Profile = None,
    engine: options.Engine = None,
    model: options.Models = None,
    as_json: AsJson = False,
) -> None:
    """List a server's models; load, unload, sleep, pin and unpin them.

    Listed are those of the server at --url or --port: state, memory, cards, requests, last use
    and keep for its operator, limits for others; else those of --registry, --profile, --engine or
    --model; with neither, those of the server that runs here, or of the registry if none does.
    """
    asked = {"url": url, "port": port, "host": host}
    of_a_file = {"registry": registry, "profile": profile, "engine": engine, "model": model}
    given = {**asked, **of_a_file, "api_key": api_key, "data_dir": data_dir}
    if (command := context.invoked_subcommand) is not None:
        _refuse_before(command, given, as_json)
        return
    settings = read_settings(**given)
    show_models(
        settings,
        is_asked=settings.url is not None or any(each is not None for each in asked.values()),
        is_of_a_file=any(of_a_file.values()),
        as_json=as_json,
    )


def _refuse_before(command: str, given: dict[str, Any], as_json: bool) -> None:
    """Options before a command would be the list's, and have no effect."""
    named = [name for name, value in given.items() if value] + ["json"] * as_json
    if named:
        flag = f"--{named[0].replace('_', '-')}"
        raise CannotStart(f"{flag} stands after the command: fjord models {command} ALIAS {flag} …")


def _add_waited(command: Command, text: str) -> None:
    """A command that takes its time."""

    @app.command(command, help=text)
    def give(
        alias: Alias,
        url: server_address.Url = None,
        port: server_address.Port = None,
        data_dir: DataDir = None,
        api_key: AdminKey = None,
        no_wait: NoWait = False,
        as_json: AsJson = False,
    ) -> None:
        with operator_client(url, port, data_dir, api_key) as server:
            _tell(server, command, alias, is_patient=not no_wait, as_json=as_json)


def _add_immediate(command: Command, text: str) -> None:
    @app.command(command, help=text)
    def give(
        alias: Alias,
        url: server_address.Url = None,
        port: server_address.Port = None,
        data_dir: DataDir = None,
        api_key: AdminKey = None,
        as_json: AsJson = False,
    ) -> None:
        with operator_client(url, port, data_dir, api_key) as server:
            _tell(server, command, alias, is_patient=False, as_json=as_json)


_add_waited(
    "load",
    "Load a model, also one that no request may load.\n\n"
    "Others make room for it as for a request; a pinned one does not.",
)
_add_waited(
    "unload",
    "Unload a model once its requests have ended.\n\n"
    "The next request loads it again, unless no request may.",
)
_add_waited(
    "sleep",
    "Put a model to sleep once its requests have ended.\n\n"
    "It gives its cards' memory back and keeps its process: the next request wakes it, sooner "
    "than a load. vLLM on CUDA alone, with enable_sleep_mode.",
)
_add_immediate("pin", "Keep a model, once loaded: it makes room for no other.")
_add_immediate("unpin", "Take a pin back, also the registry's, until the next start.")


def _tell(
    server: OperatorClient, command: Command, alias: str, *, is_patient: bool, as_json: bool
) -> None:
    said: Callable[[str], None] = (lambda line: None) if as_json else typer.echo
    model = server.tell(command, alias)
    if others := ", ".join(model["shares_with"]):
        said(f"{model['alias']} shares its engine with {others}: this {command} is theirs, too")
    if is_patient:
        model = server.done(model, said)
    if as_json:
        typer.echo(json.dumps(model, indent=2))
    elif command in ("pin", "unpin"):
        pinned = "pinned" if model["is_pinned"] else "not pinned"
        typer.echo(f"{model['alias']}: {model['state']}, {pinned}")
    elif not is_patient:
        typer.echo(f"{model['alias']}: {command} begun; `fjord models` shows how far it is")
    if is_patient and command == "load" and model["state"] != "ready":
        raise CannotStart(f"{model['alias']} was not loaded: {model['reason'] or model['state']}")
    if is_patient and command == "sleep" and model["state"] in ("stopping", "cold"):
        raise CannotStart(f"{model['alias']} does not sleep: {model['reason'] or model['state']}")
