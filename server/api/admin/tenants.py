"""/admin/v1/site, …/owners and …/members: the levels above keys."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from server.accounts.tenant_wire import (
    MemberIn,
    MemberOut,
    MemberPatch,
    MemberState,
    OwnerIn,
    OwnerOut,
    OwnerPatch,
    OwnerState,
    SiteOut,
    SitePatch,
    member_out,
    member_state,
    member_words,
    owner_out,
    owner_state,
    site_out,
)
from server.accounts.use_wire import (
    MemberUsed,
    OwnerUsed,
    SiteUsed,
    member_used,
    owner_used,
    site_used,
)
from server.api.admin.bounds import Bounds
from server.api.admin.list_window import TOTAL_HEADER, Window
from server.api.admin.reach import Reach, Reached
from server.api.admin.terms import Terms
from server.api.model_aliases import by_alias
from server.ledger.database import Database
from server.ledger.level_use import level_use
from server.ledger.level_uses import level_uses
from server.ledger.member_store import MemberStore
from server.ledger.owner_store import OwnerStore
from server.ledger.site_store import SiteStore
from server.ledger.tenants import MemberLevel, OwnerLevel, Role


def add_site_routes(router: APIRouter, Books: Any, terms: Terms) -> None:
    @router.get("/site", summary="What all keys together may use")
    def show_site(books: Books) -> SiteUsed:
        site = SiteStore(books).get()
        return site_used(site, level_use(books, site, terms.reserved()))

    @router.patch("/site", summary="Change the fields that are sent; null is no limit")
    def update_site(body: SitePatch, books: Books) -> SiteOut:
        return site_out(SiteStore(books).update(by_alias(body, terms.names()).apply))


def add_owner_routes(router: APIRouter, Books: Any, terms: Terms) -> None:
    def used(books: Database, owner: OwnerLevel) -> OwnerUsed:
        return owner_used(owner, level_use(books, owner, terms.reserved()))

    @router.post("/owners", status_code=201, summary="Make an owner: a customer or project")
    def create_owner(body: OwnerIn, books: Books) -> OwnerOut:
        return owner_out(OwnerStore(books).create(by_alias(body, terms.names()).owner()))

    @router.get("/owners", summary="All owners, by name", responses=TOTAL_HEADER)
    def list_owners(
        books: Books, reach: Reached, window: Window, state: OwnerState | None = None
    ) -> list[OwnerUsed | OwnerOut]:
        found = [one for one in reach.owners(books) if state in (None, owner_state(one))]
        part = window.of(found, lambda it: (it.name, it.owner_id))
        if not window.is_used:
            return [owner_out(one) for one in part]
        return list(map(owner_used, part, level_uses(books, "owner", part, terms.reserved())))

    @router.get("/owners/{owner:path}", summary="One owner, by name or id")
    def show_owner(owner: str, books: Books, reach: Reached) -> OwnerUsed:
        return used(books, reach.owner_level(books, owner))

    @router.patch("/owners/{owner:path}", summary="Change the fields that are sent")
    def update_owner(owner: str, body: OwnerPatch, books: Books) -> OwnerOut:
        return owner_out(OwnerStore(books).update(owner, by_alias(body, terms.names()).apply))


Of = Annotated[str | None, Query(description="Of this owner, by name or id.")]


def add_member_routes(router: APIRouter, Books: Any, terms: Terms) -> None:
    def used(books: Database, member: MemberLevel) -> MemberUsed:
        return member_used(member, level_use(books, member, terms.reserved()))

    def owner_name(books: Any, reach: Reach, owner: str | None) -> str | None:
        return None if owner is None else reach.owner_level(books, owner).name

    @router.post("/members", status_code=201, summary="Make a member: a person")
    def create_member(body: MemberIn, books: Books, reach: Reached) -> MemberOut:
        """A manager's is of that owner, which does not have to be said."""
        member = by_alias(body, terms.names()).member()
        bounds = Bounds(books, reach, terms.currency)
        return member_out(MemberStore(books).create(bounds.new_member(member)))

    @router.get("/members", summary="All members, by owner and name", responses=TOTAL_HEADER)
    def list_members(
        books: Books,
        reach: Reached,
        window: Window,
        owner: Of = None,
        state: MemberState | None = None,
        role: Role | None = None,
    ) -> list[MemberUsed | MemberOut]:
        name = owner_name(books, reach, owner)
        found = [
            one
            for one in reach.members(books)
            if name in (None, one.owner)
            and state in (None, member_state(one))
            and role in (None, one.role)
        ]
        part = window.of(found, member_words)
        if not window.is_used:
            return [member_out(one) for one in part]
        return list(map(member_used, part, level_uses(books, "member", part, terms.reserved())))

    @router.get("/members/{member:path}", summary="One member, by name or id")
    def show_member(member: str, books: Books, reach: Reached, owner: Of = None) -> MemberUsed:
        return used(books, reach.member(books, member, owner_name(books, reach, owner)))

    @router.patch("/members/{member:path}", summary="Change the fields that are sent")
    def update_member(
        member: str, body: MemberPatch, books: Books, reach: Reached, owner: Of = None
    ) -> MemberOut:
        found = reach.member(books, member, owner_name(books, reach, owner)).member_id
        change = by_alias(body, terms.names()).apply
        bounded = Bounds(books, reach, terms.currency).of_member(change)
        return member_out(MemberStore(books).update(found, bounded))
