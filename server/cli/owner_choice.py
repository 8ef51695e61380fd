"""Which owner or member a person means; what is near is named where there is none."""

import typer

from engines.spelling import did_you_mean
from server.ledger.database import Database
from server.ledger.errors import MemberNotFound, OwnerNotFound
from server.ledger.member_store import MemberStore
from server.ledger.owner_store import OwnerStore
from server.ledger.tenants import MemberLevel, OwnerLevel


def owner_named(database: Database, word: str) -> OwnerLevel:
    """By name or id. Raises OwnerNotFound."""
    store = OwnerStore(database)
    if (found := store.find(word)) is not None:
        return found
    hint = did_you_mean(word, [owner.name for owner in store.list()])
    raise OwnerNotFound(f"No owner has the name or id {word!r}{hint or '.'}")


def warn_of_new(database: Database, word: str) -> None:
    """A key may make its owner; one whose name is nearly another's may be a slip."""
    store = OwnerStore(database)
    hint = did_you_mean(word, [owner.name for owner in store.list()])
    if hint and store.find(word) is None:
        said = f"there is no owner {word!r} yet{hint} It is made."
        typer.echo(f"fjord: warning: {said}", err=True)


def member_named(database: Database, word: str, owner: str | None) -> MemberLevel:
    """By name or id; of `owner`, by name or id, where it is given. Raises LedgerError."""
    store = MemberStore(database)
    name = None if owner is None else owner_named(database, owner).name
    try:
        return store.get(word, name)
    except MemberNotFound as refusal:
        hint = did_you_mean(word, [one.name for one in store.list() if name in (None, one.owner)])
        raise MemberNotFound(f"{str(refusal).removesuffix('.')}{hint or '.'}") from None
