"""What a level has used, as programs see it."""

from datetime import date, datetime
from decimal import Decimal
from typing import Literal

from pydantic import BaseModel, Field

from server.accounts.allowance_wire import moment
from server.accounts.key_wire import KeyOut, key_out
from server.accounts.tenant_wire import (
    MemberOut,
    OwnerOut,
    SiteOut,
    member_out,
    owner_out,
    site_out,
)
from server.ledger.allowance import Allowance
from server.ledger.keys import Key
from server.ledger.level_use import LevelUse
from server.ledger.money import MICRO, decimal_text
from server.ledger.tenants import MemberLevel, OwnerLevel, SiteLevel


class UsedOut(BaseModel):
    """In the period of the level's budget, or, where it has none, in this month."""

    period: Literal["day", "month", "total"]
    begins: date | None = Field(description="Its first day, UTC; null: there is none")
    ends_at: datetime | None = Field(description="When the next one begins; null: never")
    requests: int
    tokens: int = Field(description="Input and output together")
    money: dict[str, str] = Field(description="By currency, exact decimals")
    spent: Decimal | None = Field(description="Of the budget, in its unit; null: there is none")
    reserved: Decimal | None = Field(
        description="By open requests; null: unknown, no server was asked"
    )
    left: Decimal | None = Field(description="Of the budget, less what is spent and reserved")


class SiteUsed(SiteOut):
    """What all keys together may use, and have used."""

    used: UsedOut


class OwnerUsed(OwnerOut):
    """An owner, and what all its keys together have used."""

    used: UsedOut


class MemberUsed(MemberOut):
    """A person, and what all its keys together have used."""

    used: UsedOut


class KeyUsed(KeyOut):
    """A key, without its secret, and what it has used."""

    used: UsedOut


def site_used(site: SiteLevel, use: LevelUse) -> SiteUsed:
    return SiteUsed(**dict(site_out(site)), used=used_out(site, use))


def owner_used(owner: OwnerLevel, use: LevelUse) -> OwnerUsed:
    return OwnerUsed(**dict(owner_out(owner)), used=used_out(owner, use))


def member_used(member: MemberLevel, use: LevelUse) -> MemberUsed:
    return MemberUsed(**dict(member_out(member)), used=used_out(member, use))


def key_used(key: Key, use: LevelUse) -> KeyUsed:
    return KeyUsed(**dict(key_out(key)), used=used_out(key, use))


def used_out(level: Allowance, use: LevelUse) -> UsedOut:
    def shown(amount: int | None) -> Decimal | None:
        budget = level.budget
        if amount is None or budget is None:
            return None
        return Decimal(amount) / MICRO if budget.kind == "money" else Decimal(amount)

    return UsedOut(
        period=use.period,
        begins=use.begins,
        ends_at=moment(use.ends_s),
        requests=use.requests,
        tokens=use.tokens,
        money={currency: decimal_text(micro) for currency, micro in use.money.items()},
        spent=shown(use.spent),
        reserved=shown(use.reserved),
        left=shown(use.left),
    )
