"""`fjord …`: the commands and their flags; each imports what it needs when it runs."""

import importlib
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from server import __version__
from server.cli import serving_options as options
from server.cli.apps import new_app
from server.cli.standard_streams import complete_streams
from server.cli.trouble import give_up_output, why
from server.refusal import CannotStart

ELSEWHERE = {
    "models": "server.cli.models",
    "apply": "server.cli.apply",
    "plan": "server.cli.plan",
    "check": "server.cli.check",
    "doctor": "server.cli.doctor.command",
    "run": "server.cli.run",
    "batch": "server.cli.batch",
    "weights": "server.cli.weights",
    "bundle": "server.cli.bundle",
    "keys": "server.cli.keys",
    "audit": "server.cli.audit",
    "owners": "server.cli.owners",
    "members": "server.cli.members",
    "console": "server.cli.console",
    "site": "server.cli.site",
    "nodes": "server.cli.nodes",
    "node": "server.cli.node.command",
    "requests": "server.cli.requests",
    "usage": "server.cli.usage",
    "invoice": "server.cli.invoice",
    "prune": "server.cli.prune",
    "forget": "server.cli.forget",
    "backup": "server.cli.backup",
    "restore": "server.cli.restore",
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
    host: options.Host = None,
    port: options.Port = None,
    uds: options.Uds = None,
    uds_mode: options.UdsMode = None,
    tls_cert: options.TlsCert = None,
    tls_key: options.TlsKey = None,
    ops_port: options.OpsPort = None,
    ops_host: options.OpsHost = None,
    registry: options.RegistryFile = None,
    profile: options.Profile = None,
    engine: options.Engine = None,
    data_dir: options.DataDir = None,
    no_auth: options.NoAuth = None,
    cors_origin: options.CorsOrigins = None,
    ollama: options.Ollama = None,
    console: options.Console = None,
    console_url: options.ConsoleUrl = None,
    model: options.Models = None,
    engine_arg: options.EngineArgs = None,
    request_timeout_s: options.RequestTimeout = None,
    load_timeout_s: options.LoadTimeout = None,
    start_timeout_s: options.StartTimeout = None,
    engine_memory_gb: options.EngineMemory = None,
    sleep_memory_gb: options.SleepMemory = None,
    drain_timeout_s: options.DrainTimeout = None,
    offline: options.Offline = None,
    verify: options.Verify = None,
    ledger_url: options.LedgerUrl = None,
    advertise: options.Advertise = None,
    node_token_file: options.NodeTokenFile = None,
    cluster: options.Cluster = None,
    otlp_endpoint: options.OtlpEndpoint = None,
    log_level: options.LogLevel = None,
    log_format: options.LogFormat = None,
) -> None:
    """Serve the API. Each flag is also an environment variable: FJORD_HOST, FJORD_PORT, ..."""
    flags = locals()
    from server.settings import read_settings

    settings = read_settings(**flags)
    from server.cli.serve import serve as run

    raise typer.Exit(run(settings))


@app.command()
def prepare(
    aliases: Annotated[
        list[str] | None,
        typer.Argument(metavar="ALIAS", help="Fetch these. [default: the preloaded ones]"),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Fetch the weights of every model of the profile.")
    ] = False,
    registry: options.RegistryFile = None,
    profile: options.Profile = None,
    engine: options.Engine = None,
    data_dir: options.DataDir = None,
    model: options.Models = None,
    host: Annotated[
        str | None,
        typer.Option(help="Where `serve` will listen: a key is kept for loopback alone."),
    ] = None,
) -> None:
    """Do what a first start does, and stop.

    That is: fetch the weights of preloaded models (or of those that are named, or of all), make the
    ledger and the first key.
    """
    flags = locals()
    from server.cli.prepare import prepare as run
    from server.settings import read_settings

    del flags["aliases"], flags["every"]
    run(read_settings(**flags), aliases or (), every=every)


def main() -> None:
    """The console script."""
    complete_streams()
    try:
        try:
            app(prog_name="fjord")
        finally:
            sys.stdout.flush()
    except BrokenPipeError:  # `| head`: who reads has had enough
        give_up_output()
        sys.exit(1)
    except OSError as error:  # a full disk behind `>`
        give_up_output()
        typer.echo(f"fjord: {why(error)}", err=True)
        sys.exit(2)
    except UnicodeEncodeError:
        if (wrong := _unreadable_argument()) is None:
            raise
        typer.echo(f"fjord: {wrong} is no text in UTF-8.", err=True)
        sys.exit(2)
    except CannotStart as refusal:
        for line in str(refusal).splitlines():
            typer.echo(f"fjord: {line}", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def _unreadable_argument() -> str | None:
    """One with bytes that are no characters, which Python keeps as half ones."""
    written = ((each, each.encode("utf-8", "replace").decode()) for each in sys.argv[1:])
    return next((repr(shown) for each, shown in written if shown != each), None)
