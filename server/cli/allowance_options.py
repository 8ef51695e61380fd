"""The options of an allowance: the same for keys, members, owners and the site."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial, wraps
from typing import Annotated, Any, TypeAlias, TypeVar

import typer

from engines.registry.complaints import shown
from engines.registry.currency import CURRENCIES
from engines.registry.durations import seconds_of
from server.accounts.allowance_wire import AllowancePatch
from server.cli.key_choice import by_alias, check_models
from server.cli.options import failed
from server.ledger.allowance import Allowance

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
CurrencyName: TypeAlias = Annotated[str | None, typer.Option(help=", ".join(CURRENCIES) + ".")]
Factor: TypeAlias = Annotated[
    str | None, typer.Option(help="What prices are multiplied by, as 0.85 or 1.2.")
]
Content: TypeAlias = Annotated[
    str | None, typer.Option(help="What is kept of requests: none, metadata or full.")
]
ContentFor: TypeAlias = Annotated[
    str | None, typer.Option(help="How long that holds, as 30m, 1h or 7d.")
]
Unset: TypeAlias = Annotated[
    list[str] | None, typer.Option(help="A field to set back to its default; repeatable.")
]
A = TypeVar("A", bound=Allowance)


@dataclass(frozen=True, slots=True)
class SaidAllowance:
    """What was said of an allowance: its fields, as AllowancePatch names them."""

    fields: dict[str, Any]
    budget: str | None
    currency: str | None

    def check_models(self) -> None:
        check_models(self.fields.get("models") or ())

    def fits(self, level: Allowance) -> None:
        """Raises typer.Exit: a budget given now counts in the currency that is there."""
        if self.budget is not None and self.currency is None:
            what = f"the {level.kind} is billed in"
            check_unit(self.budget, budget_of(self.budget)[1], level.currency, what)


NOTHING = SaidAllowance({}, None, None)


def said(
    models: Models = None,
    requests_per_minute: Rate = None,
    burst: Burst = None,
    concurrent: Concurrent = None,
    tokens_per_minute: TokenRate = None,
    budget: BudgetText = None,
    currency: CurrencyName = None,
    price_factor: Factor = None,
    content: Content = None,
    content_for: ContentFor = None,
) -> SaidAllowance:
    fields: dict[str, Any] = {
        "models": None if models is None else [m.strip() for m in models.split(",") if m.strip()],
        "requests_per_minute": requests_per_minute,
        "burst": burst,
        "concurrent": concurrent,
        "tokens_per_minute": tokens_per_minute,
        "currency": None if currency is None else currency.upper(),
        "price_factor": price_factor,
        "content": content,
        "content_until": None if content_for is None else _after(content_for),
    }
    if budget is not None:
        fields["budget"], unit = budget_of(budget)
        fields["currency"] = fields["currency"] or unit
        check_unit(budget, unit, fields["currency"], "--currency is")
    given = {name: value for name, value in fields.items() if value is not None}
    by_alias(given)
    return SaidAllowance(given, budget, currency)


def _after(text: str) -> datetime:
    """Raises typer.Exit."""
    try:
        return datetime.now(UTC) + timedelta(seconds=seconds_of(text))
    except (ValueError, OverflowError):
        raise failed(f"--content-for {shown(text)} is not understood; right would be 1h.") from None


def with_allowance(command: Callable[..., None]) -> Callable[..., None]:
    """The command with all of these options in the place of its parameter `allowance`, which is
    what they say."""

    @wraps(command)
    def run(**options: Any) -> None:
        given = {name: options.pop(name) for name in inspect.signature(said).parameters}
        command(allowance=said(**given), **options)

    own = inspect.signature(command)
    parameters: list[inspect.Parameter] = []
    for parameter in own.parameters.values():
        is_theirs = parameter.name == "allowance"
        parameters += inspect.signature(said).parameters.values() if is_theirs else [parameter]
    by_name = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in parameters]
    run.__signature__ = own.replace(parameters=by_name)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in by_name} | {"return": None}
    return run


def applied(apply: Callable[[A], A], allowance: SaidAllowance) -> Callable[[A], A]:
    """`apply`, where the budget fits what it is applied to."""
    return partial(_changed, apply, allowance)


def _changed(apply: Callable[[A], A], allowance: SaidAllowance, level: A) -> A:
    allowance.fits(level)
    return apply(level)


def check_unit(budget: str, unit: str | None, currency: str | None, what: str) -> None:
    """A budget of money counts in the level's currency, whatever its unit says."""
    if None not in (unit, currency) and unit != currency:
        raise failed(
            f"--budget {budget!r} is in {unit} and {what} {currency}; there is one currency, "
            "which the budget counts in: give both the same."
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


def unset_fields(names: list[str] | None, patch: type[AllowancePatch]) -> dict[str, None]:
    """Raises typer.Exit for what has no default."""
    return {unset_name(name, patch): None for name in names or ()}


def unset_name(field: str, patch: type[AllowancePatch]) -> str:
    unlike = ("name", "owner", "member", "role", "archived", "disabled")
    fields = [n for n in patch.model_fields if n not in unlike]
    name = field.replace("-", "_")
    name = "expires_at" if name == "expires" else name
    if name not in fields:
        raise failed(f"--unset {field!r} is none of {', '.join(fields)}.")
    return name
