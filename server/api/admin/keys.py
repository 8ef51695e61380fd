"""/admin/v1/keys: made, shown, changed, rotated and revoked."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Query

from engines.registry.names import ModelNames
from server.accounts.key_wire import (
    MAX_GRACE_S,
    KeyIn,
    KeyMade,
    KeyOut,
    KeyPatch,
    key_made,
    key_out,
)
from server.api.model_aliases import by_alias
from server.ledger.key_names import key_of, keys_of


def add_key_routes(router: APIRouter, Keys: Any, names: Callable[[], ModelNames]) -> None:
    @router.post("/keys", status_code=201, summary="Make a key; its text is shown only now")
    def create_key(body: KeyIn, keys: Keys) -> KeyMade:
        return key_made(*keys.create(by_alias(body, names()).key()))

    @router.get("/keys", summary="All keys, the oldest first")
    def list_keys(keys: Keys, owner: str | None = None, member: str | None = None) -> list[KeyOut]:
        """Of an owner, of a member: by name or id."""
        return [key_out(key) for key in keys_of(keys, owner, member)]

    @router.get("/keys/{key_id}", summary="One key, by id or name")
    def show_key(key_id: str, keys: Keys) -> KeyOut:
        return key_out(key_of(keys.list(), key_id))

    @router.patch("/keys/{key_id}", summary="Change the fields that are sent; null is the default")
    def update_key(key_id: str, body: KeyPatch, keys: Keys) -> KeyOut:
        found = key_of(keys.list(), key_id).key_id
        return key_out(keys.update(found, by_alias(body, names()).apply))

    @router.post("/keys/{key_id}/rotate", summary="Give a key a new text")
    def rotate_key(
        key_id: str, keys: Keys, grace_s: Annotated[float, Query(ge=0, le=MAX_GRACE_S)] = 0.0
    ) -> KeyMade:
        return key_made(*keys.rotate(key_of(keys.list(), key_id).key_id, grace_s=grace_s))

    @router.delete("/keys/{key_id}", summary="Revoke a key, for ever; its records stay")
    def revoke_key(key_id: str, keys: Keys) -> KeyOut:
        return key_out(keys.revoke(key_of(keys.list(), key_id).key_id))
