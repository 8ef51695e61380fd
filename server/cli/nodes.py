"""`fjord nodes`: the servers of a site; keep new work from one, and let it come again."""

import json
from collections.abc import Sequence
from typing import Annotated, Any, TypeAlias
from urllib.parse import quote

import typer

from server.cli import server_address
from server.cli.apps import new_app
from server.cli.joined_nodes import age_text, show_joined
from server.cli.models import AdminKey, AsJson, DataDir
from server.cli.operator_client import operator_client
from server.cli.tables import Column, show_table
from server.refusal import CannotStart

app = new_app(invoke_without_command=True)

NodeName: TypeAlias = Annotated[str, typer.Argument(metavar="NODE", help="Its name or id.")]
COLUMNS = (
    Column("node"),
    Column("state"),
    Column("up", is_number=True),
    Column("runs", is_number=True),
    Column("waits", is_number=True),
    Column("version"),
    Column("models", is_long=True),
    Column("address", is_long=True),
    Column("id", is_long=True),
)


@app.callback()
def nodes(
    context: typer.Context,
    url: server_address.Url = None,
    port: server_address.Port = None,
    data_dir: DataDir = None,
    api_key: AdminKey = None,
    as_json: AsJson = False,
) -> None:
    """List a site's servers; drain and undrain one.

    A server that was not heard for ten seconds is gone; after a day it is not told any more.
    """
    if (command := context.invoked_subcommand) is not None:
        if as_json or any(each is not None for each in (url, port, data_dir, api_key)):
            raise CannotStart(f"Options stand after the command: fjord nodes {command} NODE …")
        return
    with operator_client(url, port, data_dir, api_key) as server:
        found = server.get("/admin/v1/nodes")
    if as_json:
        typer.echo(json.dumps(found["nodes"] + found["joined"], indent=2))
        return
    _show(found["nodes"], as_json)
    show_joined(found["joined"])


def _add(command: str, text: str) -> None:
    @app.command(command, help=text)
    def tell(
        node: NodeName,
        url: server_address.Url = None,
        port: server_address.Port = None,
        data_dir: DataDir = None,
        api_key: AdminKey = None,
        as_json: AsJson = False,
    ) -> None:
        with operator_client(url, port, data_dir, api_key) as server:
            _show([server.post(f"/admin/v1/nodes/{quote(node, safe='')}/{command}")], as_json)


_add(
    "drain",
    "Keep new work from a server: its /ready is 503.\n\n"
    "A load balancer that looks at /ready takes it out; it goes on with what it has, and answers "
    "what comes all the same. Until undrain, or until it starts anew.",
)
_add("undrain", "Let a server take new work again.")


def _show(found: Sequence[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    show_table(COLUMNS, [_row(each) for each in found])


def _row(node: dict[str, Any]) -> list[str]:
    is_there = node["state"] not in ("gone", "stopped")
    models = node["models"] if is_there else []
    return [
        node["name"] + (" (here)" if node["is_here"] else ""),
        node["state"] if is_there else f"{node['state']} {age_text(node['silent_s'])}",
        age_text(node["for_s"]) if is_there else "",
        str(sum(model["requests"] for model in models)),
        str(sum(model["waiting"] for model in models)),
        node["version"],
        ", ".join(_model(model) for model in models),
        node["address"] or "",
        node["node_id"],
    ]


def _model(model: dict[str, Any]) -> str:
    return str(model["alias"]) + ("" if model["state"] == "ready" else f" {model['state']}")
