"""/admin/v1/me: who asks, what they may do, and what is left to them."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from server.accounts.allowance_wire import AllowanceOut, allowance_shown
from server.accounts.limits import Limiter
from server.accounts.principal import PRINCIPAL, Principal
from server.accounts.rate_account import RateAccount
from server.accounts.use_wire import UsedOut, used_out
from server.api.admin.authority import AUTHORITY, may
from server.api.services import Services
from server.ledger.actors import ActorKind
from server.ledger.allowance import SITE, Allowance
from server.ledger.database import Database
from server.ledger.level_use import LevelUse, Reserved, level_use
from server.ledger.member_store import MemberStore
from server.ledger.owner_store import OwnerStore
from server.ledger.records import LevelKind
from server.ledger.site_store import SiteStore
from server.ledger.tenants import MemberLevel, OwnerLevel, Role


class MinuteUse(BaseModel):
    """On this server alone; null: nothing is counted, as there is no such limit."""

    requests: int | None = Field(description="In the last minute")
    tokens: int | None = Field(description="In this minute")
    sequences: int = Field(description="In flight now")


class OwnLevel(AllowanceOut):
    """Something that the asker's keys are below: it, all of it, or nothing of it is theirs."""

    level: LevelKind
    name: str | None
    used: UsedOut
    minute: MinuteUse | None = Field(description="null: nothing asked here since its start")


class Me(BaseModel):
    kind: ActorKind
    name: str = Field(description="The id of the key or member; operator")
    title: str = Field(description="What people call it")
    role: Role
    owner: str | None = Field(description="The one that may be spoken of; null: all of them")
    member_id: str | None
    may: list[str] = Field(description="The operations that are open, like POST /keys")
    levels: list[OwnLevel] = Field(description="The nearest first; the site's to its own people")
    is_site_spent: bool = Field(description="Whether the site's own budget has no room now")


def add_me_route(router: APIRouter, Books: Any, services: Services) -> None:
    @router.get("/me", summary="Who asks, what they may do, and what is left to them")
    async def show_me(request: Request, books: Books) -> Me:
        who: Principal = request.scope[PRINCIPAL]
        used = await asyncio.to_thread(_used, books, who, services.ledger.budgets.reservations())
        return Me(
            kind=who.kind,
            name=who.name,
            title=who.title or who.name,
            role=who.role,
            owner=who.owner,
            member_id=who.member_id,
            may=[operation for operation in AUTHORITY if may(who, operation)],
            levels=[_shown(level, use, services.limiter) for level, use in used],
            is_site_spent=_is_site_spent(services),
        )


def _used(books: Database, who: Principal, reserved: Reserved) -> list[tuple[Allowance, LevelUse]]:
    return [(level, level_use(books, level, reserved)) for level in _levels(books, who)]


def _levels(books: Database, who: Principal) -> Iterator[Allowance]:
    if who.member_id is not None:
        yield from MemberStore(books).of_id(who.member_id)
    if who.owner is None:
        yield SiteStore(books).get()
    elif (owner := OwnerStore(books).find(who.owner)) is not None:
        yield owner


def _shown(level: Allowance, use: LevelUse, limiter: Limiter) -> OwnLevel:
    account = limiter.accounts.get(level.level_id)
    return OwnLevel(
        level=level.kind,
        name=level.name if isinstance(level, MemberLevel | OwnerLevel) else None,
        **allowance_shown(level),
        used=used_out(level, use),
        minute=None if account is None else _minute(account),
    )


def _minute(account: RateAccount) -> MinuteUse:
    now = time.monotonic()
    return MinuteUse(
        requests=None if account.rate is None else account.requests.count(now),
        tokens=None if account.tokens is None else account.spent.count(now),
        sequences=account.held,
    )


def _is_site_spent(services: Services) -> bool:
    account = services.ledger.budgets.accounts.get(SITE)
    return account is not None and account.used() >= account.budget.amount
