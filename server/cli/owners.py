"""`fjord owners …`: the customers and projects that keys belong to, and what they may use."""

import json
from typing import Annotated, Any, TypeAlias

import typer

from server.accounts.tenant_wire import OwnerIn, OwnerPatch, owner_out
from server.accounts.use_wire import owner_used
from server.cli.allowance_options import SaidAllowance, Unset, applied, unset_fields, with_allowance
from server.cli.apps import new_app
from server.cli.key_fields import checked
from server.cli.options import DEFAULT_DIR, AsJson, DataDir, LedgerUrl
from server.cli.owner_choice import owner_named
from server.cli.tables import Column, show_table
from server.cli.tenant_books import changing_books, tenant_books
from server.cli.tenant_table import show_level, summary
from server.ledger.level_use import level_use
from server.ledger.owner_store import OwnerStore

app = new_app(no_args_is_help=True, help="Make, show and change owners of API keys.")

OwnerWord: TypeAlias = Annotated[
    str, typer.Argument(metavar="OWNER", help="Its name or id, as `fjord owners list` shows.")
]
WeightNumber: TypeAlias = Annotated[
    int | None, typer.Option(help="Its share of a full engine beside others', 1 to 100.")
]
SHOWN = ("owner_id", "name", "state", "budget", "currency", "models")
COLUMNS = [
    *map(Column, ("id", "name", "state", "budget", "currency")),
    Column("models", is_long=True),
]


@app.command()
@with_allowance
def create(
    name: Annotated[str, typer.Argument(help="The customer or project; for good.")],
    allowance: SaidAllowance,
    weight: WeightNumber = None,
    data_dir: DataDir = DEFAULT_DIR,
    ledger_url: LedgerUrl = None,
    as_json: AsJson = False,
) -> None:
    """Make an owner; of the first key that names it one is made, too."""
    fields = allowance.fields | _weight(weight)
    new = checked(lambda: OwnerIn(name=name, **fields).owner())
    allowance.check_models()
    with changing_books(data_dir, ledger_url) as database:
        owner = OwnerStore(database).create(new)
    show_level(owner_out(owner), as_json)


@app.command("list")
def list_owners(
    data_dir: DataDir = DEFAULT_DIR, ledger_url: LedgerUrl = None, as_json: AsJson = False
) -> None:
    """All owners, by name."""
    with tenant_books(data_dir, ledger_url) as database:
        owners = [owner_out(owner) for owner in OwnerStore(database).list()]
    if as_json:
        typer.echo(json.dumps([owner.model_dump(mode="json") for owner in owners], indent=2))
        return
    show_table(COLUMNS, [summary(owner, SHOWN) for owner in owners])


@app.command()
def show(
    owner: OwnerWord,
    data_dir: DataDir = DEFAULT_DIR,
    ledger_url: LedgerUrl = None,
    as_json: AsJson = False,
) -> None:
    """Everything about one owner."""
    with tenant_books(data_dir, ledger_url) as database:
        found = owner_named(database, owner)
        used = owner_used(found, level_use(database, found))
    show_level(used, as_json)


@app.command()
@with_allowance
def update(
    owner: OwnerWord,
    allowance: SaidAllowance,
    archived: Annotated[
        bool | None,
        typer.Option("--archive/--restore", help="Whether its keys are refused from now on."),
    ] = None,
    weight: WeightNumber = None,
    unset: Unset = None,
    data_dir: DataDir = DEFAULT_DIR,
    ledger_url: LedgerUrl = None,
    as_json: AsJson = False,
) -> None:
    """Change what is given; running servers follow within two seconds."""
    fields = allowance.fields | unset_fields(unset, OwnerPatch)
    fields |= _weight(weight) | ({} if archived is None else {"archived": archived})
    patch = checked(lambda: OwnerPatch(**fields))
    allowance.check_models()
    with changing_books(data_dir, ledger_url) as database:
        name = owner_named(database, owner).name
        change = applied(patch.apply, allowance)
        changed = checked(lambda: OwnerStore(database).update(name, change))
    show_level(owner_out(changed), as_json)


def _weight(said: int | None) -> dict[str, Any]:
    return {} if said is None else {"weight": said}
