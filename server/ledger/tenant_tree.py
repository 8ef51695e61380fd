"""All that stands above keys, read and written together."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from server.ledger.allowance import Allowance
from server.ledger.audit import note
from server.ledger.audit_forms import told
from server.ledger.database import Database
from server.ledger.levels import Above
from server.ledger.member_store import MemberStore
from server.ledger.owner_store import OwnerStore
from server.ledger.site_store import SiteStore
from server.ledger.tenants import MemberLevel, OwnerLevel, SiteLevel

Level = TypeVar("Level", OwnerLevel, MemberLevel)


@dataclass(frozen=True, slots=True)
class TenantTree:
    site: SiteLevel
    owners: dict[str, OwnerLevel]
    """By name."""
    members: dict[str, MemberLevel]
    """By id."""
    places: dict[tuple[str, str | None], Above] = field(default_factory=dict)
    """Owner and member -> what is above their keys, as far as it was asked."""

    @classmethod
    def read(cls, database: Database) -> "TenantTree":
        return cls(
            SiteStore(database).get(),
            {owner.name: owner for owner in OwnerStore(database).list()},
            {member.member_id: member for member in MemberStore(database).list()},
        )

    def place(self, owner: str, member_id: str | None) -> Above:
        """What is above keys of that place; the same for all of them."""
        found = self.places.get((owner, member_id))
        if found is None:
            above = Above(tuple(self.above(owner, member_id)))
            found = self.places[owner, member_id] = above
        return found

    def above(self, owner: str, member_id: str | None) -> Iterator[Allowance]:
        """The nearest first."""
        if member_id is not None and member_id in self.members:
            yield self.members[member_id]
        if owner in self.owners:
            yield self.owners[owner]
        yield self.site

    def mirror(self, database: Database) -> None:
        """Make the tables hold exactly this, in the caller's transaction. What is the same is not
        written."""
        before = TenantTree.read(database)
        if before.site != self.site:
            SiteStore(database).save(self.site)
        owners = changed(before.owners, self.owners)
        members = changed(before.members, self.members)
        OwnerStore(database).delete(owners)
        MemberStore(database).delete(members)
        save_all(database, filter(None, owners.values()), filter(None, members.values()))

    def brought(self, site: Database) -> dict[str, str]:
        """Add to a site what it has not; each member's id here -> the site's id of that person."""
        for owner in self.owners.values():
            if OwnerStore(site).find(owner.name) is None:
                OwnerStore(site).save(owner)
                note(site, "owner.create", owner.name, None, told(owner))
        there = {(m.owner, m.name): m.member_id for m in MemberStore(site).list()}
        new = [m for m in self.members.values() if (m.owner, m.name) not in there]
        save_all(site, (), new)
        for member in new:
            note(site, "member.create", member.member_id, None, told(member))
        there |= {(m.owner, m.name): m.member_id for m in new}
        return {m.member_id: there[m.owner, m.name] for m in self.members.values()}


def changed(before: Mapping[str, Level], wanted: Mapping[str, Level]) -> dict[str, Level | None]:
    """What has to be written; None: what has to go."""
    news = {id_: one for id_, one in wanted.items() if before.get(id_) != one}
    return {**dict.fromkeys(before.keys() - wanted.keys()), **news}


def place_of(database: Database, owner: str, member_id: str | None) -> Above:
    """What is above one key."""
    found = OwnerStore(database).find(owner)
    members = () if member_id is None else MemberStore(database).of_id(member_id)
    tree = TenantTree(
        SiteStore(database).get(),
        {} if found is None else {found.name: found},
        {member.member_id: member for member in members},
    )
    return tree.place(owner, member_id)


def save_all(
    database: Database, owners: Iterable[OwnerLevel], members: Iterable[MemberLevel]
) -> None:
    for owner in owners:
        OwnerStore(database).save(owner)
    for member in members:
        MemberStore(database).save(member)
