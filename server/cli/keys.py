"""`fjord keys …`: make, show and change the keys, also while servers run on them."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from server.accounts.key_wire import MAX_GRACE_S, KeyIn, KeyPatch, key_out
from server.accounts.use_wire import key_used
from server.cli.allowance_options import (
    NOTHING,
    SaidAllowance,
    Unset,
    applied,
    unset_fields,
    with_allowance,
)
from server.cli.apps import new_app
from server.cli.key_choice import key_named
from server.cli.key_fields import checked, expiry
from server.cli.key_table import show_key, show_made, summary
from server.cli.options import DEFAULT_DIR, AsJson, DataDir, LedgerUrl, failed
from server.cli.owner_choice import warn_of_new
from server.cli.periods import Owner
from server.cli.tables import Column, show_table
from server.cli.tenant_books import changing_books, tenant_books
from server.ledger.key_names import keys_of
from server.ledger.key_store import KeyStore
from server.ledger.level_use import level_use

app = new_app(no_args_is_help=True, help="Make, show and change API keys.")

KeyId: TypeAlias = Annotated[
    str, typer.Argument(metavar="KEY", help="The key's name or id, as `fjord keys list` shows.")
]
Member: TypeAlias = Annotated[
    str | None, typer.Option(help="The person whose it is, by name or id; for good.")
]
Expires: TypeAlias = Annotated[
    str | None,
    typer.Option(help="Its last day (2027-01-31), a time with zone, or days from now (30d)."),
]

COLUMNS = [
    *map(Column, ("id", "name", "owner", "state", "budget", "last used")),
    Column("models", is_long=True),
]


@app.command()
@with_allowance
def create(
    name: Annotated[str, typer.Option(help="What it is for.")],
    owner: Annotated[
        str, typer.Option(help="Customer or project that is billed, by name or id.")
    ] = "default",
    member: Member = None,
    admin: Annotated[bool, typer.Option("--admin", help="A key for /admin/v1.")] = False,
    allowance: SaidAllowance = NOTHING,
    expires: Expires = None,
    data_dir: DataDir = DEFAULT_DIR,
    ledger_url: LedgerUrl = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and show it: this once, only its hash is stored."""
    fields = allowance.fields | expiry(expires)
    new = checked(lambda: KeyIn(name=name, owner=owner, member=member, admin=admin, **fields).key())
    allowance.check_models()
    with changing(data_dir, ledger_url) as store:
        warn_of_new(store.database, owner)
        key, text = store.create(new)
    show_made(key, text, as_json)


@app.command("list")
def list_keys(
    owner: Owner = None,
    member: Annotated[str | None, typer.Option(help="Only this member's.")] = None,
    data_dir: DataDir = DEFAULT_DIR,
    ledger_url: LedgerUrl = None,
    as_json: AsJson = False,
) -> None:
    """All keys, the oldest first."""
    with key_store(data_dir, ledger_url) as store:
        keys = keys_of(store, owner, member)
    if as_json:
        typer.echo(json.dumps([key_out(key).model_dump(mode="json") for key in keys], indent=2))
        return
    show_table(COLUMNS, [summary(key_out(key)) for key in keys])


@app.command()
def show(
    key_id: KeyId,
    data_dir: DataDir = DEFAULT_DIR,
    ledger_url: LedgerUrl = None,
    as_json: AsJson = False,
) -> None:
    """Everything about one key but its secret."""
    with key_store(data_dir, ledger_url) as store:
        key = key_named(store, key_id)
        used = key_used(key, level_use(store.database, key))
    show_key(used, as_json)


@app.command()
@with_allowance
def update(
    key_id: KeyId,
    name: Annotated[str | None, typer.Option(help="What it is for.")] = None,
    owner: Annotated[
        str | None, typer.Option(help="Customer or project that is billed, by name or id.")
    ] = None,
    member: Member = None,
    allowance: SaidAllowance = NOTHING,
    expires: Expires = None,
    unset: Unset = None,
    data_dir: DataDir = DEFAULT_DIR,
    ledger_url: LedgerUrl = None,
    as_json: AsJson = False,
) -> None:
    """Change what is given; running servers follow within two seconds."""
    named = {"name": name, "owner": owner, "member": member}
    fields = allowance.fields | {k: v for k, v in named.items() if v is not None}
    fields |= expiry(expires) | unset_fields(unset, KeyPatch)
    patch = checked(lambda: KeyPatch(**fields))
    allowance.check_models()
    with changing(data_dir, ledger_url) as store:
        found = key_named(store, key_id).key_id
        if owner is not None:
            warn_of_new(store.database, owner)
        key = checked(lambda: store.update(found, applied(patch.apply, allowance)))
    show_key(key_out(key), as_json)


@app.command()
def rotate(
    key_id: KeyId,
    grace: Annotated[
        float, typer.Option(help="Hours for which the old text is accepted too.")
    ] = 0.0,
    data_dir: DataDir = DEFAULT_DIR,
    ledger_url: LedgerUrl = None,
    as_json: AsJson = False,
) -> None:
    """Give a key a new text, with the same id, limits and budget."""
    if not 0 <= grace * 3600 <= MAX_GRACE_S:
        raise failed(f"--grace {grace} is no number of hours from 0 to {MAX_GRACE_S / 3600:.0f}.")
    with changing(data_dir, ledger_url) as store:
        key, text = store.rotate(key_named(store, key_id).key_id, grace_s=grace * 3600)
    show_made(key, text, as_json)


@app.command()
def revoke(
    key_id: KeyId,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    data_dir: DataDir = DEFAULT_DIR,
    ledger_url: LedgerUrl = None,
    as_json: AsJson = False,
) -> None:
    """Refuse a key from now on, for ever; its records stay."""
    with changing(data_dir, ledger_url) as store:
        key = key_named(store, key_id)
        if not yes and sys.stdin.isatty():
            typer.confirm(
                f"Revoke {key.name!r} of {key.owner} ({key.key_id}) for ever?", abort=True
            )
        key = store.revoke(key.key_id)
    show_key(key_out(key), as_json)


@contextmanager
def key_store(data_dir: Path, ledger_url: str | None) -> Iterator[KeyStore]:
    """The keys. Raises typer.Exit, also for what is done with them."""
    with tenant_books(data_dir, ledger_url) as database:
        yield KeyStore(database)


@contextmanager
def changing(data_dir: Path, ledger_url: str | None) -> Iterator[KeyStore]:
    """The keys, to be changed where they are kept. Raises typer.Exit."""
    with changing_books(data_dir, ledger_url) as database:
        yield KeyStore(database)
