"""What is said of a key on a command line -> its fields; every mistake is one line."""

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from engines.registry.complaints import complaint, shown
from engines.registry.currency import CURRENCIES
from server.accounts.key_wire import KeyPatch
from server.cli.options import failed
from server.ledger.keys import Key

_DATE = re.compile(r"\d{4}-\d\d-\d\d")


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
    given = error["input"]
    words = f"{given:%Y-%m-%d %H:%M %Z}" if isinstance(given, datetime) else shown(given)
    return f"{name}: {complaint(error)}; got {words}."


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
            f"--budget {shown(text)} is not understood; write AMOUNT UNIT/PERIOD with a unit of "
            f"{', '.join(CURRENCIES)} or tokens and a period of day, month or total, "
            "as in '500 NOK/month'."
        )
    kind = "tokens" if unit == "TOKENS" else "money"
    wire = {"kind": kind, "amount": amount, "period": period}
    return wire, unit if kind == "money" else None


def moment_of(text: str) -> datetime:
    """When a key ends: a date alone is its last day, in UTC."""
    try:
        if text.endswith("d") and text[:-1].isdigit():
            return datetime.fromtimestamp(time.time(), UTC) + timedelta(days=int(text[:-1]))
        if not _DATE.match(text):
            raise ValueError
        moment = datetime.fromisoformat(text)
        if _DATE.fullmatch(text):
            moment += timedelta(days=1)
    except (ValueError, OverflowError):
        raise failed(
            f"--expires {shown(text)} is not a date (2027-01-31), a time with zone "
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
