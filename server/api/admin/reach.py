"""What of the books somebody may speak of. What is others' is not there for them."""

from dataclasses import dataclass
from typing import Annotated, TypeAlias

from fastapi import Depends, Request

from server.accounts.principal import PRINCIPAL, Principal
from server.api.admin.authority import standing_of
from server.ledger.database import Database
from server.ledger.errors import OwnerNotFound
from server.ledger.key_headings import KeyHeading, key_headings
from server.ledger.key_store import KeyStore
from server.ledger.keys import Key
from server.ledger.member_store import MemberStore
from server.ledger.owner_store import OwnerStore
from server.ledger.tenants import MemberLevel, OwnerLevel


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """Errors are those of what is not there, in the same words."""

    owner: str | None = None
    """The one owner's name; None: all of them."""
    member_id: str | None = None
    """The one member's, of that owner; None: all of them."""
    me: str | None = None
    """The id of the member who asks."""

    @property
    def is_whole_site(self) -> bool:
        return self.owner is None

    def headings(self, books: Database) -> list[KeyHeading]:
        """Of all keys."""
        return [heading for heading in key_headings(books) if self.has_key(heading)]

    def keys_called(self, store: KeyStore, word: str) -> list[Key]:
        """By name or id."""
        return [key for key in store.called(word) if self.has_key(key)]

    def has_key(self, key: Key | KeyHeading) -> bool:
        return self.owner in (None, key.owner) and self.member_id in (None, key.member_id)

    def has_member(self, member: MemberLevel) -> bool:
        return self.owner in (None, member.owner) and self.member_id in (None, member.member_id)

    def owners(self, books: Database) -> list[OwnerLevel]:
        return [one for one in OwnerStore(books).list() if self.owner in (None, one.name)]

    def owner_level(self, books: Database, word: str) -> OwnerLevel:
        """By name or id. Raises OwnerNotFound."""
        found = OwnerStore(books).find(word)
        if found is None or self.owner not in (None, found.name):
            raise OwnerNotFound(f"No owner has the name or id {word!r}.")
        return found

    def owner_word(self, books: Database, word: str) -> str:
        """Of an owner by name or id the name; of none that is there the word itself."""
        found = OwnerStore(books).find(word)
        return word if found is None or self.owner not in (None, found.name) else found.name

    def members(self, books: Database) -> list[MemberLevel]:
        return [one for one in MemberStore(books).list() if self.has_member(one)]

    def member(self, books: Database, word: str, owner: str | None = None) -> MemberLevel:
        """As MemberStore.get. Raises MemberNotFound, TenantConflict."""
        return MemberStore(books).get(word, owner, self.has_member)


def reach_of(who: Principal) -> Reach:
    """Raises NotPermitted."""
    if standing_of(who) == "member":
        return Reach(owner=who.owner, member_id=who.member_id, me=who.member_id)
    return Reach(owner=who.owner, me=who.member_id)


def _of_request(request: Request) -> Reach:
    return reach_of(request.scope[PRINCIPAL])


Reached: TypeAlias = Annotated[Reach, Depends(_of_request)]
"""Of who asks: a route's parameter."""
