"""People of the console that are in the books."""

from pathlib import Path

from server.accounts.principal import Principal
from server.ledger import sqlite
from server.ledger.database import SqliteDatabase
from server.ledger.member_store import MemberStore
from server.ledger.owner_store import OwnerStore
from server.ledger.tenants import MemberLevel, Role
from tests.support.serving import empty_ledger


def person(data_dir: Path, role: Role = "admin", owner: str | None = None) -> Principal:
    """A new one, of an owner that is made where there is none."""
    empty_ledger(data_dir)
    database = SqliteDatabase(sqlite.prepared_ledger(data_dir))
    try:
        if owner is not None:
            OwnerStore(database).ensure(owner)
        new = MemberLevel(member_id="", owner=owner, name=f"Ada {role}", role=role)
        made = MemberStore(database).create(new)
    finally:
        database.close()
    return Principal(kind="member", name=made.member_id, role=role, owner=owner, title="Ada")
