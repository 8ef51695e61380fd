"""`fjord models`: alias, weights, engine, state, limits; the state is asked of a running server."""

import json
from collections.abc import Mapping
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from engines.registry.registry import Registry
from engines.registry.spec import ModelSpec
from server.cli.registry_choice import open_registry
from server.settings import Settings

NOT_RUNNING = "not running"


def show_models(settings: Settings, *, as_json: bool) -> None:
    registry = open_registry(settings)
    states = _states(settings)
    rows = [_row(model, states) for model in registry.models.values()]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    else:
        Console().print(_table(registry, rows))


def _row(model: ModelSpec, states: Mapping[str, str]) -> dict[str, Any]:
    revision = f"@{model.engine.revision}" if model.engine.revision else ""
    return {
        "alias": model.alias,
        "weights": model.engine.source + revision,
        "engine": model.engine.kind,
        "state": states.get(model.alias, NOT_RUNNING),
        "context_tokens": model.context_tokens,
        "output_tokens": model.output_tokens,
        "preload": model.preload,
    }


def _table(registry: Registry, rows: list[dict[str, Any]]) -> Table:
    table = Table(title=f"profile {registry.profile}", title_justify="left", box=None)
    table.add_column("alias", no_wrap=True)
    table.add_column("weights", overflow="fold")
    for heading in ("engine", "state"):
        table.add_column(heading, no_wrap=True)
    for heading in ("context", "output"):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(
            row["alias"],
            row["weights"],
            row["engine"],
            row["state"],
            _tokens(row["context_tokens"]),
            _tokens(row["output_tokens"]),
        )
    return table


def _tokens(count: int) -> str:
    """As the registry writes it: 32K is 32768."""
    return f"{count // 1024}K" if count and count % 1024 == 0 else str(count)


def _states(settings: Settings) -> dict[str, str]:
    """alias -> state, by the server that runs on this machine's host and port, if one does."""
    import httpx

    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    try:
        answer = httpx.get(f"http://{host}:{settings.port}/ready", timeout=1.0, trust_env=False)
        engines = answer.json()["engines"]
        return {alias: engine["state"] for engine in engines for alias in engine["aliases"]}
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        return {}
