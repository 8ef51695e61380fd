"""What a manager and a member may not say of keys and members: prices, admins, what is others'."""

import time
from collections.abc import Callable, Set
from dataclasses import dataclass, replace
from typing import Final

from server.accounts.auth import NotPermitted
from server.api.admin.reach import Reach
from server.ledger.allowance import Allowance
from server.ledger.database import Database
from server.ledger.errors import TenantConflict
from server.ledger.keys import Key
from server.ledger.tenant_tree import place_of
from server.ledger.tenants import MemberLevel

MOST_KEYS: Final = 100
"""That a member may have at a time."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """For one request. All raise NotPermitted, and for what is not there TenantNotFound."""

    books: Database
    reach: Reach
    currency: str
    """The registry's."""

    def new_key(self, key: Key, sent: Set[str]) -> Key:
        """`key` as it may be made; `sent`: the fields that were."""
        if self.reach.is_whole_site:
            return key
        if key.is_admin:
            raise NotPermitted("A key for the admin API is made by a site's admin.")
        owner = key.owner if "owner" in sent else self.reach.owner or ""
        made = replace(key, owner=owner, member_id=key.member_id or self.reach.member_id)
        return self._within(replace(key, currency=None, price_factor=None, member_id=None), made)

    def check_room(self) -> None:
        """Whether a member may have one more. Raises TenantConflict."""
        if self.reach.member_id is None:
            return
        now = time.time()
        found = self.reach.headings(self.books)
        if sum(heading.state(now) == "active" for heading in found) >= MOST_KEYS:
            raise TenantConflict(f"You have {MOST_KEYS} keys: revoke one first.")

    def of_key(self, change: Callable[[Key], Key]) -> Callable[[Key], Key]:
        def bounded(before: Key) -> Key:
            after = change(before)
            if self.reach.is_whole_site:
                return after
            if before.is_admin:
                raise NotPermitted("A key for the admin API is changed by a site's admin.")
            return self._within(before, after)

        return bounded

    def check_holder(self, key: Key) -> None:
        """Whether its text may be changed, or it be revoked: of an admin key by its member."""
        is_own = self.reach.me is not None and self.reach.me == key.member_id
        if key.is_admin and not self.reach.is_whole_site and not is_own:
            raise NotPermitted("A key for the admin API is its member's and a site admin's.")

    def _within(self, before: Key, after: Key) -> Key:
        """Its owner by name, its member by id."""
        owner = self.reach.owner_level(self.books, after.owner).name
        member = after.member_id
        if member is not None and member != before.member_id:
            member = self.reach.member(self.books, member, owner).member_id
        self._check_prices(before, after, member)
        return replace(after, owner=owner, member_id=member)

    def of_member(self, change: Callable[[MemberLevel], MemberLevel]) -> Callable[..., MemberLevel]:
        def bounded(before: MemberLevel) -> MemberLevel:
            after = change(before)
            if not self.reach.is_whole_site:
                self._check_role(after)
                self._check_prices(before, after)
            return after

        return bounded

    def new_member(self, member: MemberLevel) -> MemberLevel:
        if self.reach.is_whole_site:
            return member
        self._check_role(member)
        owner = self.reach.owner_level(self.books, member.owner or self.reach.owner or "").name
        self._check_prices(replace(member, currency=None, price_factor=None), member)
        return replace(member, owner=owner)

    def _check_role(self, member: MemberLevel) -> None:
        if member.role == "admin":
            raise NotPermitted("An admin of the site is made by one.")

    def _check_prices(self, before: Allowance, after: Allowance, member: str | None = None) -> None:
        """A currency may be said where it is the one that counts anyway."""
        if after.price_factor != before.price_factor:
            raise NotPermitted("A price_factor is a site admin's to give and to take.")
        above = place_of(self.books, self.reach.owner or "", member)
        inherited = above.currency or self.currency
        now = before.currency or inherited
        if (after.currency or inherited) != now:
            raise NotPermitted(
                f"What is billed in another currency than {now} is a site admin's to say."
            )
