"""`fjord members …`: the persons of an owner, or of the site, whose keys are counted together."""

import json
from typing import Annotated, Any, TypeAlias

import typer

from server.accounts.tenant_wire import MemberIn, MemberPatch, member_out
from server.accounts.use_wire import member_used
from server.cli.allowance_options import SaidAllowance, Unset, applied, unset_fields, with_allowance
from server.cli.apps import new_app
from server.cli.console_link import welcome_url
from server.cli.key_fields import checked
from server.cli.options import DEFAULT_DIR, AsJson, DataDir, LedgerUrl
from server.cli.owner_choice import member_named, owner_named
from server.cli.server_address import console_address
from server.cli.tables import Column, show_table
from server.cli.tenant_books import changing_books, tenant_books
from server.cli.tenant_table import show_level, summary
from server.ledger.level_use import level_use
from server.ledger.member_store import MemberStore
from server.ledger.password_store import PasswordStore
from server.ledger.session_store import SessionStore

app = new_app(no_args_is_help=True, help="Make, show and change the members of owners.")

MemberWord: TypeAlias = Annotated[
    str, typer.Argument(metavar="MEMBER", help="Its name or id, as `fjord members list` shows.")
]
OwnerWord: TypeAlias = Annotated[str | None, typer.Option(help="Of this owner, by name or id.")]
Email: TypeAlias = Annotated[str | None, typer.Option(help="Where the person is written to.")]
RoleName: TypeAlias = Annotated[
    str | None,
    typer.Option(help="manager, member or auditor of an owner; admin or auditor of the site."),
]
SHOWN = ("member_id", "name", "owner", "role", "state", "budget", "email")
COLUMNS = [
    *map(Column, ("id", "name", "owner", "role", "state", "budget")),
    Column("email", is_long=True),
]


@app.command()
@with_allowance
def create(
    name: Annotated[str, typer.Argument(help="The person's name.")],
    allowance: SaidAllowance,
    owner: Annotated[
        str | None, typer.Option(help="The owner, by name or id; none for the site's people.")
    ] = None,
    email: Email = None,
    role: RoleName = None,
    data_dir: DataDir = DEFAULT_DIR,
    ledger_url: LedgerUrl = None,
    as_json: AsJson = False,
) -> None:
    """Make a member of an owner that is there."""
    said = _said(email=email, role=role)
    new = checked(lambda: MemberIn(name=name, owner=owner, **said, **allowance.fields).member())
    allowance.check_models()
    with changing_books(data_dir, ledger_url) as database:
        if owner is not None:
            owner_named(database, owner)
        member = MemberStore(database).create(new)
    show_level(member_out(member), as_json)


@app.command("list")
def list_members(
    owner: OwnerWord = None,
    data_dir: DataDir = DEFAULT_DIR,
    ledger_url: LedgerUrl = None,
    as_json: AsJson = False,
) -> None:
    """All members, by owner and name."""
    with tenant_books(data_dir, ledger_url) as database:
        name = None if owner is None else owner_named(database, owner).name
        members = [
            member_out(one) for one in MemberStore(database).list() if name in (None, one.owner)
        ]
    if as_json:
        typer.echo(json.dumps([one.model_dump(mode="json") for one in members], indent=2))
        return
    show_table(COLUMNS, [summary(one, SHOWN) for one in members])


@app.command()
def show(
    member: MemberWord,
    owner: OwnerWord = None,
    data_dir: DataDir = DEFAULT_DIR,
    ledger_url: LedgerUrl = None,
    as_json: AsJson = False,
) -> None:
    """Everything about one member."""
    with tenant_books(data_dir, ledger_url) as database:
        found = member_named(database, member, owner)
        used = member_used(found, level_use(database, found))
    show_level(used, as_json)


@app.command()
@with_allowance
def update(
    member: MemberWord,
    allowance: SaidAllowance,
    owner: OwnerWord = None,
    name: Annotated[str | None, typer.Option(help="The person's new name.")] = None,
    email: Email = None,
    role: RoleName = None,
    disabled: Annotated[
        bool | None,
        typer.Option("--disable/--enable", help="Whether its keys are refused from now on."),
    ] = None,
    unset: Unset = None,
    data_dir: DataDir = DEFAULT_DIR,
    ledger_url: LedgerUrl = None,
    as_json: AsJson = False,
) -> None:
    """Change what is given; running servers follow within two seconds."""
    fields = allowance.fields | _said(name=name, email=email, role=role, disabled=disabled)
    fields |= unset_fields(unset, MemberPatch)
    patch = checked(lambda: MemberPatch(**fields))
    allowance.check_models()
    with changing_books(data_dir, ledger_url) as database:
        found = member_named(database, member, owner).member_id
        change = applied(patch.apply, allowance)
        changed = checked(lambda: MemberStore(database).update(found, change))
    show_level(member_out(changed), as_json)


@app.command()
def disable(
    member: MemberWord,
    owner: OwnerWord = None,
    data_dir: DataDir = DEFAULT_DIR,
    ledger_url: LedgerUrl = None,
    as_json: AsJson = False,
) -> None:
    """Refuse the member's keys from now on; `update --enable` takes it back."""
    with changing_books(data_dir, ledger_url) as database:
        found = member_named(database, member, owner).member_id
        changed = MemberStore(database).update(found, MemberPatch(disabled=True).apply)
    show_level(member_out(changed), as_json)


@app.command()
def invite(
    member: MemberWord,
    owner: OwnerWord = None,
    data_dir: DataDir = DEFAULT_DIR,
    ledger_url: LedgerUrl = None,
) -> None:
    """Make a link by which a member sets a password: good once, for a day. Also a forgotten one."""
    with changing_books(data_dir, ledger_url) as database:
        found = member_named(database, member, owner)
        token = PasswordStore(database).invite(found.member_id)
    typer.echo(welcome_url(console_address(data_dir), token))


@app.command("sign-out")
def sign_out(
    member: MemberWord,
    owner: OwnerWord = None,
    data_dir: DataDir = DEFAULT_DIR,
    ledger_url: LedgerUrl = None,
) -> None:
    """End all sessions of a member in the console, at once."""
    with changing_books(data_dir, ledger_url) as database:
        found = member_named(database, member, owner)
        ended = SessionStore(database).end_all(found.member_id)
    typer.echo(f"{ended} sessions of {found.name} have ended.")


def _said(**given: Any) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value is not None}
