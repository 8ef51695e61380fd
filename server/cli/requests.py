"""`fjord requests`: a running server's last requests, and what one request's time went into."""

import json
from collections.abc import Sequence
from typing import Annotated, Any
from urllib.parse import quote, urlencode

import typer

from server.cli import server_address
from server.cli.apps import new_app
from server.cli.models import AdminKey, AsJson, DataDir
from server.cli.operator_client import operator_client
from server.cli.tables import Column, show_fields, show_table

app = new_app()

COLUMNS = (
    *map(Column, ("ended", "status", "model")),
    *(Column(name, is_number=True) for name in ("wait", "first", "total", "tokens", "price")),
    Column("request", is_long=True),
)
_BAR = 40
"""Characters of the whole time."""


@app.command()
def requests(
    request_id: Annotated[
        str | None, typer.Argument(metavar="[REQUEST]", help="One, by its X-Request-Id.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=2000, help="The most that are shown.")] = 20,
    owner: Annotated[str | None, typer.Option(help="Only this owner's, by name or id.")] = None,
    key: Annotated[str | None, typer.Option(help="Only this key's, by name or id.")] = None,
    model: Annotated[str | None, typer.Option(help="Only this alias.")] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Those that ended with an error.")] = (
        False
    ),
    content: Annotated[
        bool, typer.Option("--content", help="What is kept of it, or those of which something is.")
    ] = False,
    url: server_address.Url = None,
    port: server_address.Port = None,
    data_dir: DataDir = None,
    api_key: AdminKey = None,
    as_json: AsJson = False,
) -> None:
    """A running server's last requests, or where one's time went.

    The newest first. Times in milliseconds: until it had an engine, its first token, its end.
    """
    with operator_client(url, port, data_dir, api_key) as server:
        if content:
            _show_kept(server, request_id, owner, key, limit)
            return
        if request_id is not None:
            found = server.get(f"/admin/v1/requests/{quote(request_id, safe='')}")
            _show_one(found, as_json)
            return
        asked = {"limit": limit, "owner": owner, "key_id": key, "alias": model}
        query = {name: value for name, value in asked.items() if value is not None}
        path = f"/admin/v1/requests?{urlencode(query | {'failed': str(failed).lower()})}"
        _show_all(server.get(path)["requests"], as_json)


def _show_kept(
    server: Any, request_id: str | None, owner: str | None, key: str | None, limit: int
) -> None:
    """JSON: a body may be anything."""
    if request_id is not None:
        path = f"/admin/v1/requests/{quote(request_id, safe='')}/content"
    else:
        asked = {"owner": owner, "key_id": key, "limit": min(limit, 1000)}
        given = {name: value for name, value in asked.items() if value is not None}
        path = f"/admin/v1/kept-requests?{urlencode(given)}"
    typer.echo(json.dumps(server.get(path), indent=2, ensure_ascii=True))


def _show_all(found: Sequence[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    elif found:
        show_table(COLUMNS, [_row(each) for each in found])
    else:
        typer.echo("No such request was answered since the server started.")


def _row(each: dict[str, Any]) -> list[str]:
    tokens = [each["prompt_tokens"], each["completion_tokens"]]
    return [
        each["ended_at"][11:19],
        str(each["status"]),
        each["alias"] or "-",
        *(_shown(each[name]) for name in ("wait_ms", "ttft_ms", "duration_ms")),
        "-" if tokens[0] is None else "+".join(map(str, tokens)),
        each["amount"] or "-",
        " ".join(filter(None, (each["request_id"], each["code"]))),
    ]


def _show_one(each: dict[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(each, indent=2))
        return
    phases = each.pop("phases")
    each["price"] = _price(each) if each["amount"] is not None else None
    del each["amount"], each["currency"]
    show_fields([(n.replace("_", " "), str(v)) for n, v in each.items() if v is not None])
    if phases:
        typer.echo()
        _show_timeline(phases)


def _show_timeline(phases: Sequence[dict[str, Any]]) -> None:
    """A bar for each part, where it stands in the whole."""
    whole = phases[-1]["begins_ms"] + phases[-1]["lasts_ms"] or 1.0
    for phase in phases:
        begins = round(_BAR * phase["begins_ms"] / whole)
        ends = round(_BAR * (phase["begins_ms"] + phase["lasts_ms"]) / whole)
        bar = " " * begins + "█" * max(ends - begins, 1)
        typer.echo(f"{phase['phase']:<9}{bar:<{_BAR + 1}} {phase['lasts_ms']:>12,.2f} ms")


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _price(each: dict[str, Any]) -> str:
    return "-" if each["amount"] is None else f"{each['amount']} {each['currency']}"
