"""/admin/v1/keys: made, shown, changed, rotated and revoked."""

import time
from typing import Annotated, Any

from fastapi import APIRouter, Query

from server.accounts.key_wire import (
    MAX_GRACE_S,
    KeyIn,
    KeyMade,
    KeyOut,
    KeyPatch,
    key_made,
    key_out,
    key_words,
)
from server.accounts.use_wire import KeyUsed, key_used
from server.api.admin.bounds import Bounds
from server.api.admin.list_window import TOTAL_HEADER, Window
from server.api.admin.reach import Reach, Reached
from server.api.admin.terms import Terms
from server.api.model_aliases import by_alias
from server.ledger.database import Database
from server.ledger.key_headings import KeyHeading, whole_keys
from server.ledger.key_names import key_of
from server.ledger.key_store import KeyStore
from server.ledger.keys import KeyState
from server.ledger.level_use import level_use
from server.ledger.level_uses import level_uses


def add_key_routes(router: APIRouter, Keys: Any, terms: Terms) -> None:
    _add_reading(router, Keys, terms)
    _add_changing(router, Keys, terms)
    _add_ending(router, Keys, terms)


def _add_reading(router: APIRouter, Keys: Any, terms: Terms) -> None:
    @router.get("/keys", summary="All keys, the oldest first", responses=TOTAL_HEADER)
    def list_keys(
        keys: Keys,
        reach: Reached,
        window: Window,
        owner: str | None = None,
        member: str | None = None,
        state: KeyState | None = None,
        newest: Annotated[bool, Query(description="These first.")] = False,
    ) -> list[KeyUsed | KeyOut]:
        """Of an owner, of a member: by name or id."""
        now, found = time.time(), _narrowed(keys.database, reach, owner, member)
        alike = [heading for heading in found if state in (None, heading.state(now))]
        asked = window.of(alike[::-1] if newest else alike, key_words)
        part = whole_keys(keys.database, asked)
        if not window.is_used:
            return [key_out(key) for key in part]
        uses = level_uses(keys.database, "key", part, terms.reserved())
        return list(map(key_used, part, uses))

    @router.get("/keys/{key_id:path}", summary="One key, by id or name")
    def show_key(key_id: str, keys: Keys, reach: Reached) -> KeyUsed:
        key = key_of(reach.keys_called(keys, key_id), key_id)
        return key_used(key, level_use(keys.database, key, terms.reserved()))


def _add_changing(router: APIRouter, Keys: Any, terms: Terms) -> None:
    @router.post("/keys", status_code=201, summary="Make a key; its text is shown only now")
    def create_key(body: KeyIn, keys: Keys, reach: Reached) -> KeyMade:
        """A member's is of that member, a manager's of that owner: neither has to be said."""
        key = by_alias(body, terms.names()).key()
        bound = Bounds(keys.database, reach, terms.currency)
        with keys.database.writing("keys"):
            bound.check_room()
            return key_made(*keys.create(bound.new_key(key, body.model_fields_set)))

    @router.patch(
        "/keys/{key_id:path}", summary="Change the fields that are sent; null is the default"
    )
    def update_key(key_id: str, body: KeyPatch, keys: Keys, reach: Reached) -> KeyOut:
        found = key_of(reach.keys_called(keys, key_id), key_id).key_id
        bound = Bounds(keys.database, reach, terms.currency)
        return key_out(keys.update(found, bound.of_key(by_alias(body, terms.names()).apply)))


def _add_ending(router: APIRouter, Keys: Any, terms: Terms) -> None:
    def held(keys: KeyStore, reach: Reach, word: str) -> str:
        found = key_of(reach.keys_called(keys, word), word)
        Bounds(keys.database, reach, terms.currency).check_holder(found)
        return found.key_id

    @router.post("/keys/{key_id:path}/rotate", summary="Give a key a new text")
    def rotate_key(
        key_id: str,
        keys: Keys,
        reach: Reached,
        grace_s: Annotated[float, Query(ge=0, le=MAX_GRACE_S)] = 0.0,
    ) -> KeyMade:
        return key_made(*keys.rotate(held(keys, reach, key_id), grace_s=grace_s))

    @router.delete("/keys/{key_id:path}", summary="Revoke a key, for ever; its records stay")
    def revoke_key(key_id: str, keys: Keys, reach: Reached) -> KeyOut:
        return key_out(keys.revoke(held(keys, reach, key_id)))


def _narrowed(
    books: Database, reach: Reach, owner: str | None, member: str | None
) -> list[KeyHeading]:
    """Raises MemberNotFound, TenantConflict."""
    name = None if owner is None else reach.owner_word(books, owner)
    keys = [key for key in reach.headings(books) if name in (None, key.owner)]
    if member is None:
        return keys
    found = reach.member(books, member, name).member_id
    return [key for key in keys if key.member_id == found]
