"""A person of an issuer -> a member, made when it first comes and renewed each time."""

import secrets
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from engines.registry.access import RuleEntry
from server.ledger.database import Database
from server.ledger.errors import TenantConflict
from server.ledger.member_store import MemberStore
from server.ledger.owner_store import OwnerStore
from server.ledger.tenants import MemberLevel
from server.sign_in.id_tokens import IdentityRefused

FIND: Final = "SELECT member_id FROM identities WHERE issuer = ? AND subject = ?"
PUT: Final = """
INSERT INTO identities (issuer, subject, member_id) VALUES (?, ?, ?)
ON CONFLICT (issuer, subject) DO UPDATE SET member_id = excluded.member_id
"""
MOST_NAME: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """As an issuer tells it."""

    issuer: str
    subject: str
    name: str
    email: str | None
    rule: RuleEntry


def person_of(issuer: str, claims: Mapping[str, Any], rule: RuleEntry) -> Person:
    words = (claims.get(name) for name in ("name", "preferred_username", "email", "sub"))
    name = next(word for word in map(_plain, words) if word)
    email = _plain(claims.get("email"))
    if claims.get("email_verified") in (False, "false") or email.count("@") != 1:
        email = ""
    subject = str(claims["sub"])
    return Person(issuer=issuer, subject=subject, name=name, email=email or None, rule=rule)


def member_of(books: Database, person: Person) -> MemberLevel:
    """Raises IdentityRefused where it may not come in."""
    members = MemberStore(books)
    with books.writing("keys"):
        _check_owner(books, person.rule.owner)
        rows = books.query(FIND, (person.issuer, person.subject))
        known = members.of_id(rows[0][0]) if rows else ()
        if known and known[0].disabled_at is not None:
            raise IdentityRefused("You are disabled here: an admin of this site knows why.")
        if known and known[0].owner == person.rule.owner:
            return _renewed(members, known[0], person)
        made = _made(members, person)
        books.execute(PUT, (person.issuer, person.subject, made.member_id))
        if known:  # it has gone over to another owner: its former keys are nobody's
            _disable(members, known[0])
    return made


def _check_owner(books: Database, owner: str | None) -> None:
    if owner is None:
        return
    found = OwnerStore(books).find(owner)
    if found is None or found.name != owner or found.archived_at is not None:
        raise IdentityRefused(
            "The owner that you belong to is not here (any more): an admin of this site has to "
            "make it, as the registry's rule calls it."
        )


def _renewed(members: MemberStore, known: MemberLevel, person: Person) -> MemberLevel:
    def change(member: MemberLevel) -> MemberLevel:
        return replace(member, role=person.rule.role, email=person.email or member.email)

    return members.update(known.member_id, change)


def _made(members: MemberStore, person: Person) -> MemberLevel:
    for name in _names(person):
        member = MemberLevel(
            member_id="",
            owner=person.rule.owner,
            name=name,
            email=person.email,
            role=person.rule.role,
        )
        try:
            return members.create(member)
        except TenantConflict:
            continue
    raise IdentityRefused("Somebody else here has your name, whatever is put behind it.")


def _names(person: Person) -> Iterator[str]:
    yield person.name
    for more in (person.email, person.subject, secrets.token_hex(4)):
        if more:
            yield f"{person.name[: MOST_NAME - 80]} ({more[:76]})"


def _disable(members: MemberStore, former: MemberLevel) -> None:
    members.update(former.member_id, lambda member: replace(member, disabled_at=time.time()))


def _plain(value: object) -> str:
    """As a name that may be kept; "": it is none."""
    if not isinstance(value, str):
        return ""
    words = " ".join(value.split())[:MOST_NAME]
    return words if words.isprintable() else ""
