"""Keys as programs see them: the admin API's bodies, and `--json` of the commands."""

import time
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

from engines.registry.currency import CURRENCIES, Currency
from server.ledger.allowance import Budget
from server.ledger.keys import Key
from server.ledger.money import MICRO, money_text
from server.ledger.records import KeyLimits

FIRST_YEAR, LAST_YEAR = 1969, 9999
MAX_GRACE_S = 366 * 86_400.0


def _storable(text: Any) -> Any:
    """Raises ValueError: half a character is none in JSON, and PostgreSQL holds no zero."""
    if isinstance(text, str) and ("\0" in text or text.encode("utf-8", "ignore").decode() != text):
        raise ValueError("it holds what is no character")
    return text


def _of_our_time(moment: datetime) -> datetime:
    """Raises ValueError: what no calendar in UTC has cannot be shown again."""
    if not FIRST_YEAR < moment.year < LAST_YEAR:
        raise ValueError("a key ends between 1970 and 9998; without a time it never does")
    return moment


def _to_come(moment: datetime) -> datetime:
    """Raises ValueError."""
    if moment <= datetime.now(UTC):
        raise ValueError("it is over: such a key would never work")
    return moment


KeyText: TypeAlias = Annotated[str, BeforeValidator(_storable), Field(min_length=1, max_length=200)]
AtLeastOne: TypeAlias = Annotated[int, Field(ge=1, le=10**12)]
Moment: TypeAlias = Annotated[AwareDatetime, AfterValidator(_of_our_time)]


class KeyDoesNotFit(ValueError):
    """Fields that are right one by one and wrong together."""


class BudgetWire(BaseModel):
    """The most a key may use in a period, which begins at midnight UTC."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["money", "tokens"]
    amount: Annotated[Decimal, Field(ge=0, le=10**12, decimal_places=6)]
    """In the key's currency, or tokens (input and output together)."""
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


class KeyPatch(BaseModel):
    """What may be changed of a key. A field that is not sent stays; null means the default."""

    model_config = ConfigDict(extra="forbid")

    name: KeyText = ""
    owner: KeyText = ""
    models: Annotated[list[KeyText], Field(max_length=1000)] | None = None
    requests_per_minute: AtLeastOne | None = None
    burst: Annotated[int, Field(ge=0, le=10**12)] | None = None
    concurrent: AtLeastOne | None = None
    tokens_per_minute: AtLeastOne | None = None
    budget: BudgetWire | None = None
    currency: Currency | None = None
    expires_at: Moment | None = None

    def apply(self, key: Key) -> Key:
        """`key` with the fields that were sent. Raises KeyDoesNotFit."""
        sent = self.model_fields_set
        limits = {name: getattr(self, name) for name in KeyLimits.__slots__ if name in sent}
        changed = replace(
            key,
            name=self.name if "name" in sent else key.name,
            owner=self.owner if "owner" in sent else key.owner,
            models=models_of(self.models) if "models" in sent else key.models,
            limits=replace(key.limits, **limits),
            budget=budget_of(self.budget) if "budget" in sent else key.budget,
            currency=self.currency if "currency" in sent else key.currency,
            expires_at=seconds(self.expires_at) if "expires_at" in sent else key.expires_at,
        )
        check_currency(key, changed, is_given="budget" in sent)
        return changed


class KeyIn(KeyPatch):
    """A new key."""

    name: KeyText
    owner: KeyText = "default"
    """The customer or project that is billed."""
    expires_at: Annotated[Moment, AfterValidator(_to_come)] | None = None
    admin: bool = False
    """A key for /admin/v1 instead of the LLM API."""

    def key(self) -> Key:
        service = "admin" if self.admin else "llm"
        return self.apply(Key(key_id="", name=self.name, owner=self.owner, service=service))


class KeyOut(BaseModel):
    """A key, without its secret."""

    key_id: str
    name: str
    owner: str
    service: str
    state: Literal["active", "expired", "revoked"]
    models: list[str] | None
    requests_per_minute: int | None
    burst: int | None
    concurrent: int | None
    tokens_per_minute: int | None
    budget: BudgetWire | None
    currency: str | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    previous_until: datetime | None
    """Until when the text from before the last rotation is accepted too."""


class KeyMade(KeyOut):
    """A new key or a new text of one: `key` is shown this once and stored nowhere."""

    key: str


def key_out(key: Key) -> KeyOut:
    return KeyOut(**fields_of(key))


def key_made(key: Key, text: str) -> KeyMade:
    return KeyMade(**fields_of(key), key=text)


def fields_of(key: Key) -> dict[str, object]:
    return {
        "key_id": key.key_id,
        "name": key.name,
        "owner": key.owner,
        "service": key.service,
        "state": key.state(time.time()),
        "models": None if key.models is None else sorted(key.models),
        **{name: getattr(key.limits, name) for name in KeyLimits.__slots__},
        "budget": key.budget and BudgetWire.of(key.budget),
        "currency": key.currency,
        "created_at": moment(key.created_at),
        "expires_at": moment(key.expires_at),
        "revoked_at": moment(key.revoked_at),
        "last_used_at": moment(key.last_used_at),
        "previous_until": moment(key.previous_until),
    }


def check_currency(before: Key, after: Key, *, is_given: bool) -> None:
    """Raises KeyDoesNotFit where a budget of money would have none, or, unless it `is_given` now,
    another than it was given in."""
    budget = after.budget
    if budget is None or budget.kind != "money":
        return
    if after.currency is None:
        known = ", ".join(CURRENCIES)
        raise KeyDoesNotFit(f"a budget of money needs the key's currency: {known}")
    if not is_given and after.currency != before.currency:
        kept = money_text(budget.amount, before.currency or "its currency")
        raise KeyDoesNotFit(
            f"the key has a budget of {kept}, which would become as many {after.currency}: give "
            "the budget with the currency"
        )


def budget_of(wire: BudgetWire | None) -> Budget | None:
    return None if wire is None else wire.budget()


def models_of(names: list[str] | None) -> frozenset[str] | None:
    return None if names is None else frozenset(names)


def seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()


def moment(seconds: float | None) -> datetime | None:
    """As near as a calendar has it: an earlier version stored times that none has."""
    if seconds is None:
        return None
    last = datetime(LAST_YEAR, 12, 31, tzinfo=UTC).timestamp()
    return datetime.fromtimestamp(min(max(seconds, 0.0), last), UTC)
