"""`fjord apply`: a running server reads its registry again."""

import json
from typing import Annotated, Any

import typer

from server.cli import server_address
from server.cli.apps import new_app
from server.cli.models import AdminKey, AsJson, DataDir
from server.cli.operator_client import operator_client
from server.refusal import CannotStart

app = new_app()


@app.command()
def apply(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would change, and change nothing.")
    ] = False,
    url: server_address.Url = None,
    port: server_address.Port = None,
    data_dir: DataDir = None,
    api_key: AdminKey = None,
    as_json: AsJson = False,
) -> None:
    """Have a server read its registry again.

    Prices, limits and names hold for new requests; a new model appears, a removed one ends with
    its requests; where an engine's arguments differ, that engine alone is restarted once its
    requests have ended. A file with a mistake changes nothing.
    """
    with operator_client(url, port, data_dir, api_key) as server:
        answer = server.apply(is_trial=dry_run)
    if answer["mistakes"]:
        raise CannotStart("\n".join(answer["mistakes"]))
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
        return
    for line in _lines(answer):
        typer.echo(line)


def _lines(answer: dict[str, Any]) -> list[str]:
    lines = [f"{m['alias']}: {m['kind']}{_named(m['keys'])}" for m in answer["models"]]
    lines += [f"{key}: changed" for key in answer["keys"]]
    if not lines:
        return ["Nothing differs."]
    return lines if answer["applied"] else [*lines, "Nothing was changed (--dry-run)."]


def _named(keys: list[str]) -> str:
    return f" ({', '.join(keys)})" if keys else ""
