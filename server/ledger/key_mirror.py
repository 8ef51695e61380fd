"""A node's own copy of its site's keys and of what stands above them."""

from collections.abc import Iterable

from server.ledger.database import Database
from server.ledger.key_changes import noted
from server.ledger.key_store import KeyStore
from server.ledger.keys import Key
from server.ledger.member_store import MemberStore
from server.ledger.owner_store import OwnerStore
from server.ledger.site_store import SiteStore
from server.ledger.tenant_tree import TenantTree, save_all


def mirrored(local: Database, remote: Database, seen: int) -> int:
    """Bring `local` from the site's version `seen` (-1: none) to the one that is returned."""
    store = KeyStore(remote)
    version = store.version()
    if version != seen:
        changed = noted(remote, seen, version)
        if changed is None:
            KeyStore(local).replace_all(store.list(), TenantTree.read(remote))
        else:
            mirror(local, remote, changed)
    return version


def mirror(local: Database, remote: Database, changed: Iterable[tuple[str, str]]) -> None:
    """Of each table that has some, those rows as they are at the site, or not at all."""
    ids: dict[str, list[str]] = {"keys": [], "owners": [], "members": [], "site": []}
    for table, id_ in changed:
        ids[table].append(id_)
    keys = KeyStore(remote).some(ids["keys"])
    add_unknown(local, ids, keys)
    owners = [found for name in ids["owners"] if (found := OwnerStore(remote).named(name))]
    members = [found for id_ in ids["members"] for found in MemberStore(remote).of_id(id_)]
    site = SiteStore(remote).get()
    with local.writing("keys"):
        if ids["site"]:
            SiteStore(local).save(site)
        OwnerStore(local).delete(ids["owners"])
        MemberStore(local).delete(ids["members"])
        save_all(local, owners, members)
        KeyStore(local).delete(ids["keys"])
        for key in keys:
            KeyStore(local).save(key)


def add_unknown(local: Database, ids: dict[str, list[str]], keys: Iterable[Key]) -> None:
    """What the keys stand under by now, later than what was noted."""
    owners = {key.owner for key in keys}.difference(ids["owners"])
    members = {key.member_id for key in keys if key.member_id}.difference(ids["members"])
    ids["owners"] += [name for name in owners if OwnerStore(local).named(name) is None]
    ids["members"] += [id_ for id_ in members if not MemberStore(local).of_id(id_)]
