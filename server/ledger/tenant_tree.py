"""All that stands above keys, read and written together."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from server.ledger.allowance import Allowance
from server.ledger.database import Database
from server.ledger.keys import Key
from server.ledger.levels import Above
from server.ledger.member_store import MemberStore
from server.ledger.owner_store import OwnerStore
from server.ledger.site_store import SiteStore
from server.ledger.tenants import MemberLevel, OwnerLevel, SiteLevel


@dataclass(frozen=True, slots=True)
class TenantTree:
    site: SiteLevel
    owners: dict[str, OwnerLevel]
    """By name."""
    members: dict[str, MemberLevel]
    """By id."""

    @classmethod
    def read(cls, database: Database) -> "TenantTree":
        return cls(
            SiteStore(database).get(),
            {owner.name: owner for owner in OwnerStore(database).list()},
            {member.member_id: member for member in MemberStore(database).list()},
        )

    def placed(self, keys: Iterable[Key]) -> list[Key]:
        """With what is above them, the same for keys of the same place."""
        places: dict[tuple[str, str | None], Above] = {}
        out = []
        for key in keys:
            place = key.owner, key.member_id
            if (above := places.get(place)) is None:
                above = places[place] = Above(tuple(self.above(*place)))
            out.append(replace(key, above=above))
        return out

    def above(self, owner: str, member_id: str | None) -> Iterator[Allowance]:
        """The nearest first."""
        if member_id is not None and member_id in self.members:
            yield self.members[member_id]
        if owner in self.owners:
            yield self.owners[owner]
        yield self.site

    def mirror(self, database: Database) -> None:
        """Make the tables hold exactly this, in the caller's transaction."""
        database.execute("DELETE FROM owners")
        database.execute("DELETE FROM members")
        SiteStore(database).save(self.site)
        save_all(database, self.owners.values(), self.members.values())

    def brought(self, site: Database) -> dict[str, str]:
        """Add to a site what it has not; each member's id here -> the site's id of that person."""
        for owner in self.owners.values():
            if OwnerStore(site).find(owner.name) is None:
                OwnerStore(site).save(owner)
        there = {(m.owner, m.name): m.member_id for m in MemberStore(site).list()}
        new = [m for m in self.members.values() if (m.owner, m.name) not in there]
        save_all(site, (), new)
        there |= {(m.owner, m.name): m.member_id for m in new}
        return {m.member_id: there[m.owner, m.name] for m in self.members.values()}


def placed(database: Database, key: Key) -> Key:
    """One key, with what is above it."""
    owner = OwnerStore(database).find(key.owner)
    members = () if key.member_id is None else MemberStore(database).of_id(key.member_id)
    tree = TenantTree(
        SiteStore(database).get(),
        {} if owner is None else {owner.name: owner},
        {member.member_id: member for member in members},
    )
    return tree.placed([key])[0]


def save_all(
    database: Database, owners: Iterable[OwnerLevel], members: Iterable[MemberLevel]
) -> None:
    for owner in owners:
        OwnerStore(database).save(owner)
    for member in members:
        MemberStore(database).save(member)
