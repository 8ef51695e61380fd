"""`fjord keys …`: make, show and change the keys, also while servers run on them."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from engines.registry.complaints import complaint
from engines.registry.currency import CURRENCIES
from server.accounts.key_wire import KeyIn, KeyPatch, key_out
from server.cli.apps import new_app
from server.cli.key_choice import key_named, warn_of_unknown
from server.cli.key_table import show_key, show_made, summary
from server.cli.tables import Column, show_table
from server.ledger.errors import LedgerError
from server.ledger.key_store import KeyStore
from server.ledger.keys import Key
from server.ledger.open_books import open_books

app = new_app(no_args_is_help=True, help="Make, show and change API keys.")

DataDir: TypeAlias = Annotated[
    Path, typer.Option("--data-dir", envvar="FJORD_DATA_DIR", help="Where the ledger lies.")
]
LedgerUrl: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--ledger-url", envvar="FJORD_LEDGER_URL", help="The site's postgresql://… instead."
    ),
]
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="One JSON document.")]
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
    str | None, typer.Option(help="A date (2027-01-31), a time with zone, or days from now (30d).")
]

COLUMNS = [
    *map(Column, ("id", "name", "owner", "state", "budget", "last used")),
    Column("models", is_long=True),
]
DEFAULT_DIR = Path("data")


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
    new = checked(lambda: KeyIn(name=name, owner=owner, admin=admin, **fields).key())
    warn_of_unknown(new.models or ())
    with key_store(data_dir, ledger_url) as store:
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
    patch = checked(lambda: KeyPatch(**fields))
    warn_of_unknown(fields.get("models") or ())
    with key_store(data_dir, ledger_url) as store:
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
    with key_store(data_dir, ledger_url) as store:
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
    with key_store(data_dir, ledger_url) as store:
        key = key_named(store, key_id)
        if not yes and sys.stdin.isatty():
            typer.confirm(
                f"Revoke {key.name!r} of {key.owner} ({key.key_id}) for ever?", abort=True
            )
        key = store.revoke(key.key_id)
    show_key(key_out(key), as_json)


@contextmanager
def key_store(data_dir: Path, ledger_url: str | None) -> Iterator[KeyStore]:
    """The keys; what goes wrong with them is one line and exit status 2."""
    try:
        with closing(open_books(data_dir, ledger_url)) as database:
            yield KeyStore(database)
    except LedgerError as error:
        raise failed(str(error)) from None


def failed(message: str) -> typer.Exit:
    for line in message.splitlines():
        typer.echo(f"fjord: {line}", err=True)
    return typer.Exit(2)


def checked(make: Callable[[], Any]) -> Any:
    """What `make` returns; what does not fit is a line each and exit status 2."""
    try:
        return make()
    except ValidationError as error:
        raise failed("\n".join(map(wrong_field, error.errors()))) from None
    except ValueError as error:
        raise failed(f"{error}.") from None


def wrong_field(error: ErrorDetails) -> str:
    name = ".".join(str(part) for part in error["loc"]) or "key"
    return f"{name}: {complaint(error)}; got {error['input']!r}."


def fields_given(
    models: str | None,
    requests_per_minute: int | None,
    burst: int | None,
    concurrent: int | None,
    tokens_per_minute: int | None,
    budget: str | None,
    currency: str | None,
    expires: str | None,
) -> dict[str, Any]:
    """The options that were given, as KeyPatch names them."""
    fields: dict[str, Any] = {
        "models": None if models is None else [m.strip() for m in models.split(",") if m.strip()],
        "requests_per_minute": requests_per_minute,
        "burst": burst,
        "concurrent": concurrent,
        "tokens_per_minute": tokens_per_minute,
        "currency": None if currency is None else currency.upper(),
        "expires_at": None if expires is None else moment_of(expires),
    }
    if budget is not None:
        fields["budget"], unit = budget_of(budget)
        fields["currency"] = fields["currency"] or unit
        check_unit(budget, unit, fields["currency"], "--currency is")
    return {name: value for name, value in fields.items() if value is not None}


def changed(patch: KeyPatch, budget: str | None, currency: str | None, key: Key) -> Key:
    if budget is not None and currency is None:
        check_unit(budget, budget_of(budget)[1], key.currency, "the key is billed in")
    return patch.apply(key)


def check_unit(budget: str, unit: str | None, currency: str | None, what: str) -> None:
    """A budget of money counts in the key's currency, whatever its unit says."""
    if None not in (unit, currency) and unit != currency:
        raise failed(
            f"--budget {budget!r} is in {unit} and {what} {currency}; a key has one currency, "
            "which its budget counts in: give both the same."
        )


def budget_of(text: str) -> tuple[dict[str, str], str | None]:
    """`500 NOK/month` -> the wire's budget, and its currency where it is money."""
    amount_and_unit, _, period = text.partition("/")
    amount, _, unit = amount_and_unit.strip().partition(" ")
    unit = unit.strip().upper()
    if unit not in (*CURRENCIES, "TOKENS") or period not in ("day", "month", "total"):
        raise failed(
            f"--budget {text!r} is not understood; write AMOUNT UNIT/PERIOD with a unit of "
            f"{', '.join(CURRENCIES)} or tokens and a period of day, month or total, "
            "as in '500 NOK/month'."
        )
    kind = "tokens" if unit == "TOKENS" else "money"
    wire = {"kind": kind, "amount": amount, "period": period}
    return wire, unit if kind == "money" else None


def moment_of(text: str) -> datetime:
    try:
        if text.endswith("d") and text[:-1].isdigit():
            return datetime.fromtimestamp(time.time(), UTC) + timedelta(days=int(text[:-1]))
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise failed(
            f"--expires {text!r} is not a date (2027-01-31), a time with zone "
            "(2027-01-31T12:00+01:00) or days from now (30d)."
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def unset_name(field: str) -> str:
    name = field.replace("-", "_")
    fields = [n for n in KeyPatch.model_fields if n not in ("name", "owner")]
    name = "expires_at" if name == "expires" else name
    if name not in fields:
        raise failed(f"--unset {field!r} is none of {', '.join(fields)}.")
    return name
