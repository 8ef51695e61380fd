"""`fjord models`: what a running server says of its models, to its operator or to others, or what
the registry does."""

import json
from collections.abc import Mapping
from typing import Any

import httpx
import typer

from engines.registry.spec import ModelSpec
from server.cli.models_operated import show_operated
from server.cli.operator_client import OperatorClient
from server.cli.registry_choice import open_registry
from server.cli.server_address import ServerAddress, server_address
from server.cli.tables import Column, show_table
from server.refusal import CannotStart
from server.settings import Settings

NOT_RUNNING = "not running"
COLUMNS = {
    "alias": Column("alias"),
    "engine": Column("engine"),
    "state": Column("state"),
    "context_tokens": Column("context", is_number=True),
    "output_tokens": Column("output", is_number=True),
    "weights": Column("weights", is_long=True),
}


def show_models(settings: Settings, *, is_asked: bool, is_of_a_file: bool, as_json: bool) -> None:
    """`is_asked`: a certain server's. `is_of_a_file`: a certain registry's. Raises CannotStart."""
    if is_asked and is_of_a_file:
        raise CannotStart(
            "--url and --port ask a running server, --registry, --profile, --engine and --model "
            "read a file: give one or the other."
        )
    address = server_address(settings)
    operated = None if is_of_a_file else _as_operator(address)
    if operated is not None:
        show_operated(f"The server at {address.url}", operated, as_json)
        return
    rows = None if is_of_a_file else _served(address)
    if rows is None and is_asked:
        raise CannotStart(
            f"No Fjord server answers at {address.url}; without --url and --port the registry's "
            "models are shown."
        )
    _show(*_of_registry(settings) if rows is None else _of_server(address, rows), as_json)


def _as_operator(address: ServerAddress) -> list[dict[str, Any]] | None:
    """None: this is not its operator, or no server that knows one."""
    if not address.operator_keys:
        return None
    try:
        with OperatorClient(address) as server:
            return server.models()
    except CannotStart:
        return None


def _show(title: str, rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    typer.echo(f"{title}\n")
    is_running = any(row["state"] != NOT_RUNNING for row in rows)
    names = [name for name in COLUMNS if name != "state" or is_running]
    show_table(
        [COLUMNS[name] for name in names],
        [[_cell(name, row[name]) for name in names] for row in rows],
    )


def _of_server(
    address: ServerAddress, rows: list[dict[str, Any]]
) -> tuple[str, list[dict[str, Any]]]:
    return f"The server at {address.url}", rows


def _of_registry(settings: Settings) -> tuple[str, list[dict[str, Any]]]:
    registry = open_registry(settings)
    rows = [_row(model) for model in registry.models.values()]
    return f"Not running; profile {registry.profile}", rows


def _row(model: ModelSpec) -> dict[str, Any]:
    revision = f"@{model.engine.revision}" if model.engine.revision else ""
    laid_over = "" if model.adapter is None else f"+{model.adapter.origin}"
    return {
        "alias": model.alias,
        "weights": model.engine.source + revision + laid_over,
        "engine": model.engine.kind,
        "state": NOT_RUNNING,
        "context_tokens": model.context_tokens,
        "output_tokens": model.output_tokens,
        "preload": model.preload,
    }


def _cell(name: str, value: Any) -> str:
    if not name.endswith("_tokens"):
        return str(value)
    if value is None:
        return "?"
    # As the registry writes it: 32K is 32768.
    return f"{value // 1024}K" if value and value % 1024 == 0 else str(value)


def _served(address: ServerAddress) -> list[dict[str, Any]] | None:
    """What the server says; None where no Fjord answers. Without a key that it takes, what it
    tells everybody at /ready."""
    headers = {"X-API-Key": address.key} if address.key else {}
    try:
        with address.api.client(headers=headers, timeout=5.0) as http:
            answer = http.get("/v1/models", params={"details": "true"})
        engines = _engines(address)
        if answer.is_success:
            rows = [_of_details(model) for model in answer.json()["data"]]
            is_fjord = engines is not None or all(row["state"] for row in rows)
            return rows if is_fjord else None
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError):
        return None
    if engines is None:
        return None
    complaint = _complaint(answer)
    typer.echo(f"fjord: {address.url} does not tell the limits: {complaint}", err=True)
    return [row for engine in engines for row in _of_engine(engine)]


def _engines(address: ServerAddress) -> list[dict[str, Any]] | None:
    """What /ready tells; None where it is not there: another server's, or on another port."""
    with address.ops.client(timeout=5.0) as http:
        answer = http.get("/ready")
    if answer.status_code == httpx.codes.NOT_FOUND:
        return None
    found: list[dict[str, Any]] = answer.json()["engines"]
    return found


def _complaint(answer: httpx.Response) -> str:
    try:
        said = answer.json()["error"]["message"]
    except (ValueError, KeyError, TypeError):
        said = answer.reason_phrase
    return f"{answer.status_code}: {said}"


def _of_details(model: Mapping[str, Any]) -> dict[str, Any]:
    names = ("weights", "engine", "state", "context_tokens", "output_tokens", "preload")
    return {"alias": model["id"], **{name: model.get(name) for name in names}}


def _of_engine(engine: Mapping[str, Any]) -> list[dict[str, Any]]:
    kind, weights, _ = engine["engine"].split(":")
    return [
        {
            "alias": alias,
            "weights": weights,
            "engine": kind,
            "state": engine["state"],
            "context_tokens": None,
            "output_tokens": None,
            "preload": engine["preload"],
        }
        for alias in engine["aliases"]
    ]
