"""Keys as people read them: one as fields, many as rows."""

from datetime import datetime
from typing import Any

import typer

from server.accounts.key_wire import KeyOut, key_made, key_out
from server.cli.tables import show_fields
from server.ledger.keys import Key


def show_made(key: Key, text: str, as_json: bool) -> None:
    if as_json:
        typer.echo(key_made(key, text).model_dump_json(indent=2))
        return
    show_key(key_out(key), as_json=False)
    typer.echo(f"\n{text}\n\nThis is the only time the key is shown; keep it safe.")


def show_key(key: KeyOut, as_json: bool) -> None:
    if as_json:
        typer.echo(key.model_dump_json(indent=2))
        return
    show_fields([(name.replace("_", " "), cell(name, key, value)) for name, value in key])


def summary(key: KeyOut) -> list[str]:
    names = ("key_id", "name", "owner", "state", "budget", "last_used_at", "models")
    return [cell(name, key, getattr(key, name)) for name in names]


def cell(name: str, key: KeyOut, value: Any) -> str:
    if name == "models":
        return "all" if value is None else ", ".join(value)
    if name == "budget" and key.budget:
        unit = key.currency if key.budget.kind == "money" else "tokens"
        return f"{key.budget.amount:f} {unit}/{key.budget.period}"
    if value is None:
        return "–"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S UTC")
    return str(value)
