"""`fjord keys …`: make, show and change the keys, also while servers run on them."""

import json
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from engines.registry.currency import CURRENCIES
from server.accounts.key_wire import MAX_GRACE_S, KeyIn, KeyPatch, key_out
from server.cli.apps import new_app
from server.cli.key_choice import by_alias, check_models, key_named
from server.cli.key_fields import changed, checked, fields_given, unset_name
from server.cli.key_table import show_key, show_made, summary
from server.cli.options import DEFAULT_DIR, AsJson, DataDir, LedgerUrl, failed
from server.cli.tables import Column, show_table
from server.cli.trouble import told
from server.ledger.errors import LedgerError
from server.ledger.key_store import KeyStore
from server.ledger.meta import KEYS_OF_SITE, remembered
from server.ledger.open_books import open_books

app = new_app(no_args_is_help=True, help="Make, show and change API keys.")

KeyId: TypeAlias = Annotated[
    str, typer.Argument(metavar="KEY", help="The key's name or id, as `fjord keys list` shows.")
]
Models: TypeAlias = Annotated[
    str | None, typer.Option(help="Aliases it may use, comma-separated; all where not given.")
]
Rate: TypeAlias = Annotated[int | None, typer.Option(help="Requests a minute.")]
Burst: TypeAlias = Annotated[int | None, typer.Option(help="Requests a minute beyond that.")]
Concurrent: TypeAlias = Annotated[int | None, typer.Option(help="Requests at once.")]
TokenRate: TypeAlias = Annotated[int | None, typer.Option(help="Tokens a minute.")]
BudgetText: TypeAlias = Annotated[
    str | None,
    typer.Option(help="'500 NOK/month', '2000000 tokens/day', '99.50 EUR/total'."),
]
Currency: TypeAlias = Annotated[str | None, typer.Option(help=", ".join(CURRENCIES) + ".")]
Expires: TypeAlias = Annotated[
    str | None,
    typer.Option(help="Its last day (2027-01-31), a time with zone, or days from now (30d)."),
]

COLUMNS = [
    *map(Column, ("id", "name", "owner", "state", "budget", "last used")),
    Column("models", is_long=True),
]


@app.command()
def create(
    name: Annotated[str, typer.Option(help="What it is for.")],
    owner: Annotated[str, typer.Option(help="Customer or project that is billed.")] = "default",
    admin: Annotated[bool, typer.Option("--admin", help="A key for /admin/v1.")] = False,
    models: Models = None,
    requests_per_minute: Rate = None,
    burst: Burst = None,
    concurrent: Concurrent = None,
    tokens_per_minute: TokenRate = None,
    budget: BudgetText = None,
    currency: Currency = None,
    expires: Expires = None,
    data_dir: DataDir = DEFAULT_DIR,
    ledger_url: LedgerUrl = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and show it: this once, only its hash is stored."""
    fields = fields_given(
        models, requests_per_minute, burst, concurrent, tokens_per_minute, budget, currency, expires
    )
    by_alias(fields)
    new = checked(lambda: KeyIn(name=name, owner=owner, admin=admin, **fields).key())
    check_models(new.models or ())
    with changing(data_dir, ledger_url) as store:
        key, text = store.create(new)
    show_made(key, text, as_json)


@app.command("list")
def list_keys(
    owner: Annotated[str | None, typer.Option(help="Only this owner's.")] = None,
    data_dir: DataDir = DEFAULT_DIR,
    ledger_url: LedgerUrl = None,
    as_json: AsJson = False,
) -> None:
    """All keys, the oldest first."""
    with key_store(data_dir, ledger_url) as store:
        keys = [key for key in store.list() if owner in (None, key.owner)]
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
    show_key(key_out(key), as_json)


@app.command()
def update(
    key_id: KeyId,
    name: Annotated[str | None, typer.Option(help="What it is for.")] = None,
    owner: Annotated[str | None, typer.Option(help="Customer or project that is billed.")] = None,
    models: Models = None,
    requests_per_minute: Rate = None,
    burst: Burst = None,
    concurrent: Concurrent = None,
    tokens_per_minute: TokenRate = None,
    budget: BudgetText = None,
    currency: Currency = None,
    expires: Expires = None,
    unset: Annotated[
        list[str] | None, typer.Option(help="A field to set back to its default; repeatable.")
    ] = None,
    data_dir: DataDir = DEFAULT_DIR,
    ledger_url: LedgerUrl = None,
    as_json: AsJson = False,
) -> None:
    """Change what is given; running servers follow within two seconds."""
    fields = fields_given(
        models, requests_per_minute, burst, concurrent, tokens_per_minute, budget, currency, expires
    )
    fields |= {k: v for k, v in {"name": name, "owner": owner}.items() if v is not None}
    fields |= {unset_name(field): None for field in unset or ()}
    by_alias(fields)
    patch = checked(lambda: KeyPatch(**fields))
    check_models(fields.get("models") or ())
    with changing(data_dir, ledger_url) as store:
        found = key_named(store, key_id).key_id
        key = checked(lambda: store.update(found, partial(changed, patch, budget, currency)))
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
    with told(), closing(open_books(data_dir, ledger_url)) as database:
        yield KeyStore(database)


@contextmanager
def changing(data_dir: Path, ledger_url: str | None) -> Iterator[KeyStore]:
    """The keys, to be changed where they are kept. Raises typer.Exit."""
    with key_store(data_dir, ledger_url) as store:
        if remembered(store.database, KEYS_OF_SITE) is not None:
            raise LedgerError(
                "This node belongs to a site, whose keys would overwrite the change: give its "
                "--ledger-url. Nothing was changed. (A node that has left its site has keys of its "
                "own once it was started without one.)"
            )
        yield store
