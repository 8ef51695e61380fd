"""People of a site in all roles: two owners, and an admin key of each person for scripts."""

from dataclasses import dataclass, field
from typing import Final

from server.ledger.database import Database
from server.ledger.key_store import KeyStore
from server.ledger.keys import Key
from server.ledger.member_store import MemberStore
from server.ledger.owner_store import OwnerStore
from server.ledger.tenants import MemberLevel, Role
from tests.support.admin_site import AdminSite

PEOPLE: Final[dict[str, tuple[Role, str | None]]] = {
    "root": ("admin", None),
    "sid": ("auditor", None),
    "boss": ("manager", "acme"),
    "aud": ("auditor", "acme"),
    "mel": ("member", "acme"),
    "pal": ("member", "acme"),
    "gil": ("manager", "globex"),
    "gus": ("member", "globex"),
}


@dataclass
class People:
    """By name: ids, and texts of keys. Of root and sid the LLM keys are globex'."""

    ids: dict[str, str] = field(default_factory=dict)
    scripts: dict[str, str] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    """The ids of their LLM keys, ..."""
    texts: dict[str, str] = field(default_factory=dict)

    def make(self, books: Database) -> None:
        for name in ("acme", "globex"):
            OwnerStore(books).ensure(name)
        for name, (role, owner) in PEOPLE.items():
            member = MemberLevel(member_id="", owner=owner, name=name, role=role)
            self.ids[name] = MemberStore(books).create(member).member_id
            key = Key(
                key_id="", name=f"of {name}", owner=owner or "globex", member_id=self.ids[name]
            )
            made, self.texts[name] = KeyStore(books).create(key)
            self.keys[name] = made.key_id
            self.scripts[name] = script_key(books, key)

    def headers(self, name: str) -> dict[str, str]:
        return {"X-API-Key": self.scripts[name]}


def script_key(books: Database, key: Key) -> str:
    script = Key(
        key_id="", name="script", owner=key.owner, member_id=key.member_id, service="admin"
    )
    return KeyStore(books).create(script)[1]


async def asked(site: AdminSite, people: People) -> None:
    """Each has asked for a model that is not there."""
    body = {"model": "none", "messages": [{"role": "user", "content": "Hi"}]}
    for name, text in people.texts.items():
        headers = {"X-API-Key": text, "X-Request-Id": f"asked-by-{name}"}
        await site.client.post("/v1/chat/completions", json=body, headers=headers)
