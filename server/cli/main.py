"""`fjord …`: the commands and their flags; each imports what it needs when it runs."""

import importlib
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from server import __version__
from server.cli import server_address
from server.cli.apps import new_app
from server.refusal import CannotStart

ELSEWHERE = {
    "run": "server.cli.run",
    "keys": "server.cli.keys",
    "usage": "server.cli.usage",
    "invoice": "server.cli.invoice",
    "prune": "server.cli.prune",
    "ship": "server.cli.ship",
    "conform": "server.cli.conform",
}
"""Commands of other files: modules with a Typer called `app`, imported when they are asked for."""


class Commands(TyperGroup):
    """The commands of this file and those of ELSEWHERE."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [*super().list_commands(ctx), *ELSEWHERE]

    def get_command(self, ctx: Any, name: str) -> Any:
        module = ELSEWHERE.get(name)
        if module is None:
            return super().get_command(ctx, name)
        command = typer.main.get_command(importlib.import_module(module).app)
        command.name = name
        return command


app = new_app(
    cls=Commands,
    help="A self-hosted server for the WAYSCloud LLM API.",
    no_args_is_help=True,
    add_completion=True,
)

Host = Annotated[str | None, typer.Option(help="Address to listen on. [default: 127.0.0.1]")]
Port = Annotated[int | None, typer.Option(help="Port to listen on; 0: any. [default: 8080]")]
RegistryFile = Annotated[
    Path | None, typer.Option("--registry", help="The registry. [default: model_registry.yaml]")
]
Profile = Annotated[
    str | None,
    typer.Option(help="A profile of the registry. [default: cuda with a GPU, else embedded]"),
]
Engine = Annotated[
    str | None, typer.Option(help="Run the models on vllm or llamacpp instead of the registry's.")
]
DataDir = Annotated[Path | None, typer.Option(help="Keys, ledger, weights. [default: data]")]
Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        metavar="NAME=SOURCE",
        help="Serve this instead of the registry: a folder, a GGUF file or a hub id. Repeatable.",
    ),
]
EngineArgs = Annotated[
    list[str] | None,
    typer.Option(
        "--engine-arg",
        metavar="NAME=VALUE",
        help="The engine's own argument, for the models of --model. Repeatable.",
    ),
]


def _show_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"fjord {__version__}")
        raise typer.Exit


@app.callback()
def fjord(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Say which it is."),
    ] = False,
) -> None:
    """What stands before a command."""


@app.command()
def serve(
    host: Host = None,
    port: Port = None,
    registry: RegistryFile = None,
    profile: Profile = None,
    engine: Engine = None,
    data_dir: DataDir = None,
    no_auth: Annotated[
        bool | None, typer.Option("--no-auth", help="Ask for no key (loopback only).")
    ] = None,
    cors_origin: Annotated[
        list[str] | None,
        typer.Option(metavar="ORIGIN", help="A page that may call: https://host or *. Repeatable."),
    ] = None,
    model: Models = None,
    engine_arg: EngineArgs = None,
    request_timeout: Annotated[
        float | None, typer.Option(metavar="S", help="End a request after S s. [default: 600]")
    ] = None,
    load_timeout: Annotated[
        float | None, typer.Option(metavar="S", help="Wait S s for a model. [default: 600]")
    ] = None,
    drain_timeout: Annotated[
        float | None,
        typer.Option(metavar="S", help="Give running answers S s at SIGTERM. [default: 60]"),
    ] = None,
    ledger_url: Annotated[
        str | None, typer.Option(help="postgresql://…: the site's database.")
    ] = None,
    log_level: Annotated[
        str | None, typer.Option(help="debug, info, warning or error. [default: info]")
    ] = None,
    log_format: Annotated[
        str | None,
        typer.Option(help="text, json or auto. [default: auto: text at a terminal, else json]"),
    ] = None,
) -> None:
    """Serve the API. Each flag is also an environment variable: FJORD_HOST, FJORD_PORT, ..."""
    from server.settings import read_settings

    settings = read_settings(
        host=host,
        port=port,
        registry=registry,
        profile=profile,
        engine=engine,
        data_dir=data_dir,
        no_auth=no_auth,
        cors_origin=cors_origin,
        model=model,
        engine_arg=engine_arg,
        request_timeout_s=request_timeout,
        load_timeout_s=load_timeout,
        drain_timeout_s=drain_timeout,
        ledger_url=ledger_url,
        log_level=log_level,
        log_format=log_format,
    )
    from server.cli.serve import serve as run

    raise typer.Exit(run(settings))


@app.command()
def models(
    url: server_address.Url = None,
    port: server_address.Port = None,
    host: Annotated[str | None, typer.Option(help="Beside --port. [default: 127.0.0.1]")] = None,
    api_key: server_address.ApiKey = None,
    data_dir: server_address.DataDir = None,
    registry: RegistryFile = None,
    profile: Profile = None,
    engine: Engine = None,
    model: Models = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """List the models: alias, weights, engine, state, limits.

    Those of the server at --url or --port; else those of --registry, --profile, --engine or
    --model; with neither, those of the server that runs here, or of the registry if none does.
    """
    from server.cli.models import show_models
    from server.settings import read_settings

    asked = {"url": url, "port": port, "host": host}
    of_a_file = {"registry": registry, "profile": profile, "engine": engine, "model": model}
    settings = read_settings(**asked, **of_a_file, api_key=api_key, data_dir=data_dir)
    show_models(
        settings,
        is_asked=settings.url is not None or any(each is not None for each in asked.values()),
        is_of_a_file=any(of_a_file.values()),
        as_json=as_json,
    )


@app.command()
def prepare(
    registry: RegistryFile = None,
    profile: Profile = None,
    engine: Engine = None,
    data_dir: DataDir = None,
    model: Models = None,
    host: Annotated[
        str | None,
        typer.Option(help="Where `serve` will listen: a key is kept for loopback alone."),
    ] = None,
) -> None:
    """Do what a first start does, and stop.

    That is: fetch the weights of preloaded models, make the ledger and the first key.
    """
    from server.cli.prepare import prepare as run
    from server.settings import read_settings

    settings = read_settings(
        registry=registry,
        profile=profile,
        engine=engine,
        data_dir=data_dir,
        model=model,
        host=host,
    )
    run(settings)


def main() -> None:
    """The console script."""
    try:
        app(prog_name="fjord")
    except CannotStart as refusal:
        for line in str(refusal).splitlines():
            typer.echo(f"fjord: {line}", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
