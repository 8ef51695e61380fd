"""Which keys are meant by words: ids, or names."""

from collections.abc import Sequence

from server.ledger.errors import KeyNotFound, TenantConflict
from server.ledger.key_store import KeyStore
from server.ledger.keys import Key
from server.ledger.member_store import MemberStore
from server.ledger.owner_store import OwnerStore

MOST_NAMED = 10


def key_of(keys: Sequence[Key], word: str) -> Key:
    """The key with this id, else the only one of this name; a revoked one only where no other has
    the name. Raises KeyNotFound, TenantConflict."""
    alike = [key for key in keys if key.name == word]
    found = (
        [key for key in keys if key.key_id == word]
        or [key for key in alike if key.revoked_at is None]
        or alike
    )
    if len(found) == 1:
        return found[0]
    if not found:
        raise KeyNotFound(f"There is no key with the name or id {word!r}.")
    each = ", ".join(f"{key.key_id} of {key.owner}" for key in found[:MOST_NAMED])
    raise TenantConflict(f"{len(found)} keys are called {word!r}: {each}; say which by its id.")


def id_of(keys: Sequence[Key], word: str) -> str:
    """Of no key there is: the word itself, as `anonymous` of a server without keys."""
    try:
        return key_of(keys, word).key_id
    except KeyNotFound:
        return word


def keys_of(store: KeyStore, owner: str | None = None, member: str | None = None) -> list[Key]:
    """Of an owner, of a member, by name or id; None: of all. Raises MemberNotFound,
    TenantConflict."""
    name = None if owner is None else OwnerStore(store.database).name_of(owner)
    keys = [key for key in store.list() if name in (None, key.owner)]
    if member is None:
        return keys
    found = MemberStore(store.database).get(member, name).member_id
    return [key for key in keys if key.member_id == found]
