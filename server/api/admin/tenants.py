"""/admin/v1/site, …/owners and …/members: the levels above keys."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Query

from engines.registry.names import ModelNames
from server.accounts.tenant_wire import (
    MemberIn,
    MemberOut,
    MemberPatch,
    OwnerIn,
    OwnerOut,
    OwnerPatch,
    SiteOut,
    SitePatch,
    member_out,
    owner_out,
    site_out,
)
from server.api.model_aliases import by_alias
from server.ledger.member_store import MemberStore
from server.ledger.owner_store import OwnerStore
from server.ledger.site_store import SiteStore

Names = Callable[[], ModelNames]


def add_site_routes(router: APIRouter, Books: Any, names: Names) -> None:
    @router.get("/site", summary="What all keys together may use")
    def show_site(books: Books) -> SiteOut:
        return site_out(SiteStore(books).get())

    @router.patch("/site", summary="Change the fields that are sent; null is no limit")
    def update_site(body: SitePatch, books: Books) -> SiteOut:
        return site_out(SiteStore(books).update(by_alias(body, names()).apply))


def add_owner_routes(router: APIRouter, Books: Any, names: Names) -> None:
    @router.post("/owners", status_code=201, summary="Make an owner: a customer or project")
    def create_owner(body: OwnerIn, books: Books) -> OwnerOut:
        return owner_out(OwnerStore(books).create(by_alias(body, names()).owner()))

    @router.get("/owners", summary="All owners, by name")
    def list_owners(books: Books) -> list[OwnerOut]:
        return [owner_out(owner) for owner in OwnerStore(books).list()]

    @router.get("/owners/{owner:path}", summary="One owner, by name or id")
    def show_owner(owner: str, books: Books) -> OwnerOut:
        return owner_out(OwnerStore(books).get(owner))

    @router.patch("/owners/{owner:path}", summary="Change the fields that are sent")
    def update_owner(owner: str, body: OwnerPatch, books: Books) -> OwnerOut:
        return owner_out(OwnerStore(books).update(owner, by_alias(body, names()).apply))


Of = Annotated[str | None, Query(description="Of this owner, by name or id.")]


def add_member_routes(router: APIRouter, Books: Any, names: Names) -> None:
    def owner_name(books: Any, owner: str | None) -> str | None:
        return None if owner is None else OwnerStore(books).get(owner).name

    @router.post("/members", status_code=201, summary="Make a member: a person")
    def create_member(body: MemberIn, books: Books) -> MemberOut:
        return member_out(MemberStore(books).create(by_alias(body, names()).member()))

    @router.get("/members", summary="All members, by owner and name")
    def list_members(books: Books, owner: Of = None) -> list[MemberOut]:
        name = owner_name(books, owner)
        members = MemberStore(books).list()
        return [member_out(one) for one in members if owner is None or one.owner == name]

    @router.get("/members/{member:path}", summary="One member, by name or id")
    def show_member(member: str, books: Books, owner: Of = None) -> MemberOut:
        return member_out(MemberStore(books).get(member, owner_name(books, owner)))

    @router.patch("/members/{member:path}", summary="Change the fields that are sent")
    def update_member(member: str, body: MemberPatch, books: Books, owner: Of = None) -> MemberOut:
        name = owner_name(books, owner)
        change = by_alias(body, names()).apply
        return member_out(MemberStore(books).update(member, change, name))
