"""Keys as people read them: one as fields, many as rows."""

import typer

from server.accounts.key_wire import KeyOut, key_made, key_out
from server.cli.tenant_table import show_level
from server.cli.tenant_table import summary as summary_of
from server.ledger.keys import Key


def show_made(key: Key, text: str, as_json: bool) -> None:
    if as_json:
        typer.echo(key_made(key, text).model_dump_json(indent=2))
        return
    show_key(key_out(key), as_json=False)
    typer.echo(f"\n{text}\n\nThis is the only time the key is shown; keep it safe.")


def show_key(key: KeyOut, as_json: bool) -> None:
    show_level(key, as_json)


def summary(key: KeyOut) -> list[str]:
    return summary_of(key, ("key_id", "name", "owner", "state", "budget", "last_used_at", "models"))
