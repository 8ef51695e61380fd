"""What a level may use, as programs see it: the same fields of the site, owners, members, keys."""

import time
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from engines.registry.currency import CURRENCIES, Currency
from server.ledger.allowance import Allowance, Budget
from server.ledger.money import MICRO, money_text
from server.ledger.records import ContentMode, KeyLimits

MOST_FACTOR = 10
LAST_YEAR = 9999
MOST_CONTENT_S = 86_400.0


def _storable(text: Any) -> Any:
    """Raises ValueError: half a character is none in JSON, and PostgreSQL holds no zero."""
    if isinstance(text, str) and ("\0" in text or text.encode("utf-8", "ignore").decode() != text):
        raise ValueError("it holds what is no character")
    return text


NameText: TypeAlias = Annotated[
    str, Field(min_length=1, max_length=200), BeforeValidator(_storable)
]
AtLeastOne: TypeAlias = Annotated[int, Field(ge=1, le=10**12)]
Factor: TypeAlias = Annotated[Decimal, Field(ge=0, le=MOST_FACTOR, decimal_places=6)]
A = TypeVar("A", bound=Allowance)


class KeyDoesNotFit(ValueError):
    """Fields that are right one by one and wrong together."""


class BudgetWire(BaseModel):
    """The most a level may use in a period, which begins at midnight UTC."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["money", "tokens"]
    amount: Annotated[Decimal, Field(ge=0, le=10**12, decimal_places=6)]
    """In the level's currency, or tokens (input and output together)."""
    period: Literal["day", "month", "total"]

    @model_validator(mode="after")
    def tokens_are_whole(self) -> "BudgetWire":
        if self.kind == "tokens" and self.amount != int(self.amount):
            raise ValueError("a budget of tokens is a whole number")
        return self

    def budget(self) -> Budget:
        unit = MICRO if self.kind == "money" else 1
        return Budget(kind=self.kind, amount=int(self.amount * unit), period=self.period)

    @classmethod
    def of(cls, budget: Budget) -> "BudgetWire":
        unit = MICRO if budget.kind == "money" else 1
        amount = Decimal(budget.amount) / unit
        return cls(kind=budget.kind, amount=amount, period=budget.period)


class AllowancePatch(BaseModel):
    """What may be changed of a level. A field that is not sent stays; null means that nothing is
    said at this level."""

    model_config = ConfigDict(extra="forbid")

    models: Annotated[list[NameText], Field(max_length=1000)] | None = None
    requests_per_minute: AtLeastOne | None = None
    burst: Annotated[int, Field(ge=0, le=10**12)] | None = None
    concurrent: AtLeastOne | None = None
    tokens_per_minute: AtLeastOne | None = None
    budget: BudgetWire | None = None
    currency: Currency | None = None
    price_factor: Factor | None = None
    """What the registry's prices are multiplied by: of all levels the nearest to the key counts."""
    content: ContentMode | None = None
    """What is kept of its requests: none, metadata (their shape alone), full (body and answer)."""
    content_until: AwareDatetime | None = None
    """When that ends. For `full` above a key it is needed, and at most a day away."""

    def allowed(self, level: A) -> A:
        """`level` with what was sent of its allowance. Raises KeyDoesNotFit."""
        sent = self.model_fields_set
        limits = {name: getattr(self, name) for name in KeyLimits.__slots__ if name in sent}
        changed = replace(
            level,
            models=models_of(self.models) if "models" in sent else level.models,
            limits=replace(level.limits, **limits),
            budget=budget_of(self.budget) if "budget" in sent else level.budget,
            currency=self.currency if "currency" in sent else level.currency,
            price_factor=micro_of(self.price_factor)
            if "price_factor" in sent
            else level.price_factor,
            content=self.content if "content" in sent else level.content,
            content_until=self._until(level),
        )
        check_content(level, changed)
        check_currency(level, changed, is_given="budget" in sent)
        check_burst(changed)
        return changed

    def _until(self, level: Allowance) -> float | None:
        """An end holds for what it was said of alone."""
        if "content_until" in self.model_fields_set:
            return None if self.content_until is None else self.content_until.timestamp()
        return None if "content" in self.model_fields_set else level.content_until


class AllowanceOut(BaseModel):
    models: list[str] | None
    requests_per_minute: int | None
    burst: int | None
    concurrent: int | None
    tokens_per_minute: int | None
    budget: BudgetWire | None
    currency: str | None
    price_factor: Decimal | None
    content: ContentMode | None
    content_until: datetime | None


def allowance_shown(level: Allowance) -> dict[str, Any]:
    """The fields of AllowanceOut."""
    factor = level.price_factor
    return {
        "models": None if level.models is None else sorted(level.models),
        **{name: getattr(level.limits, name) for name in KeyLimits.__slots__},
        "budget": level.budget and BudgetWire.of(level.budget),
        "currency": level.currency,
        "price_factor": None if factor is None else Decimal(factor) / MICRO,
        "content": level.content,
        "content_until": moment(level.content_until),
    }


def check_currency(before: Allowance, after: Allowance, *, is_given: bool) -> None:
    """Raises KeyDoesNotFit where a budget of money would have none, or, unless it `is_given` now,
    another than it was given in."""
    budget = after.budget
    if budget is None or budget.kind != "money":
        return
    if after.currency is None:
        known = ", ".join(CURRENCIES)
        raise KeyDoesNotFit(f"a budget of money needs the {after.kind}'s currency: {known}")
    if not is_given and after.currency != before.currency:
        kept = money_text(budget.amount, before.currency or "its currency")
        raise KeyDoesNotFit(
            f"the {after.kind} has a budget of {kept}, which would become as many "
            f"{after.currency}: give the budget with the currency"
        )


def check_content(before: Allowance, after: Allowance) -> None:
    """Raises KeyDoesNotFit: above a key content is kept for a time, which somebody has said."""
    if (before.content, before.content_until) == (after.content, after.content_until):
        return
    until, now = after.content_until, time.time()
    if until is not None and (after.content is None or until <= now):
        raise KeyDoesNotFit("content_until is a time to come, and needs content beside it")
    is_long = until is None or until > now + MOST_CONTENT_S
    if after.content == "full" and after.kind != "key" and is_long:
        raise KeyDoesNotFit(
            f"content full for a whole {after.kind} needs content_until, at most a day away; for "
            "longer, set it on one key"
        )


def check_burst(level: Allowance) -> None:
    """Raises KeyDoesNotFit: above a key no limit stands in for one that is not given."""
    limits = level.limits
    is_idle = limits.burst is not None and limits.requests_per_minute is None
    if level.kind != "key" and is_idle:
        raise KeyDoesNotFit(f"a burst of the {level.kind} needs its requests_per_minute")


def budget_of(wire: BudgetWire | None) -> Budget | None:
    return None if wire is None else wire.budget()


def models_of(names: list[str] | None) -> frozenset[str] | None:
    return None if names is None else frozenset(names)


def micro_of(factor: Decimal | None) -> int | None:
    return None if factor is None else int(factor * MICRO)


def moment(seconds: float | None) -> datetime | None:
    """As near as a calendar has it: an earlier version stored times that none has."""
    if seconds is None:
        return None
    last = datetime(LAST_YEAR, 12, 31, tzinfo=UTC).timestamp()
    return datetime.fromtimestamp(min(max(seconds, 0.0), last), UTC)
