"""A site of one owner with two members and some keys, each level with a budget of its own."""

from contextlib import closing
from typing import Any

from server.ledger.allowance import Budget
from server.ledger.database import Database
from server.ledger.key_store import KeyStore
from server.ledger.keys import Key
from server.ledger.ledger import Ledger
from server.ledger.levels import Above
from server.ledger.member_store import MemberStore
from server.ledger.owner_store import OwnerStore
from server.ledger.tenants import MemberLevel, OwnerLevel, SiteLevel


def tokens(amount: int, period: Any = "total") -> Budget:
    return Budget(kind="tokens", amount=amount, period=period)


def money(amount: int, period: Any = "total") -> Budget:
    """In micro-units."""
    return Budget(kind="money", amount=amount, period=period)


def key_of(key_id: str, owner: OwnerLevel, member: MemberLevel | None = None, **fields: Any) -> Key:
    """Of `owner`, with what is above it. `site`: a SiteLevel."""
    site = fields.pop("site", SiteLevel())
    above = (owner, site) if member is None else (member, owner, site)
    member_id = None if member is None else member.member_id
    return Key(
        key_id=key_id, name="n", owner=owner.name, member_id=member_id, above=Above(above), **fields
    )


def owner_of(name: str = "acme", **fields: Any) -> OwnerLevel:
    return OwnerLevel(owner_id=f"id of {name}", name=name, **fields)


def member_of(name: str = "ada", owner: str = "acme", **fields: Any) -> MemberLevel:
    return MemberLevel(member_id=name, owner=owner, name=name, **fields)


def new_owner(books: Database, name: str = "acme", **fields: Any) -> OwnerLevel:
    return OwnerStore(books).create(OwnerLevel(owner_id="", name=name, **fields))


def new_member(
    books: Database, name: str = "ada", owner: str = "acme", **fields: Any
) -> MemberLevel:
    return MemberStore(books).create(MemberLevel(member_id="", name=name, owner=owner, **fields))


def new_key(books: Database, owner: str = "acme", **fields: Any) -> str:
    """Its id."""
    key = Key(key_id="", name="n", owner=owner, **fields)
    return KeyStore(books).create(key)[0].key_id


def sums(ledger: Ledger, column: str = "owner") -> dict[str, tuple[int, int]]:
    """Each owner's, or key's, micro-units and tokens, of the records themselves."""
    sql = (
        f"SELECT {column}, sum(amount), sum(prompt_tokens + completion_tokens)"
        f" FROM usage_records GROUP BY {column}"
    )
    with closing(ledger.open_books()) as books:
        return {name: (micro, used) for name, micro, used in books.query(sql)}
