"""Key -> Caller, in memory and in constant time; the database is not on this path.

    ring = KeyRing()
    await ledger.start(ring)         # at once, and whenever the keys change
    caller = ring.authenticate(scope["headers"])     # raw ASGI headers
    caller = ring.authenticate(scope["headers"], service="admin")
    caller = ring.find(secret)                       # the key's text
    check_model(caller, alias)

AuthError
├── AuthFailed              no key, or an unknown, revoked or expired one, or one whose owner is
│                           archived or whose member is disabled (401)
└── NotPermitted            (403)
    ├── WrongService        a key of another service
    └── ModelNotAllowed     a key that may not use this model
"""

import time
from collections.abc import Collection, Iterable, Set
from functools import partial
from typing import NamedTuple

from engines.host.interpreter_turns import give_way
from server.ledger.keys import Key, hash_of
from server.ledger.keys_in_use import Left, Take
from server.ledger.records import Caller, LimitedLevel


class AuthError(Exception):
    """The message is fit for the caller; it never repeats a key."""


class AuthFailed(AuthError):
    """No key, or one that is unknown, revoked, expired, or barred by what is above it."""


class NotPermitted(AuthError):
    """A good key, for something else."""


class WrongService(NotPermitted):
    """The key belongs to another service."""


class ModelNotAllowed(NotPermitted):
    """The key may not use this alias."""


class KnownKey(NamedTuple):
    """One text of a key."""

    key: Key
    caller: Caller
    until: float | None
    """When that text ends."""
    barred: str | None
    """Why it may not be used though it is good."""

    def check_alive(self) -> None:
        """Raises AuthFailed."""
        if self.key.revoked_at is not None:
            raise AuthFailed("This API key was revoked.")
        if self.until is not None and self.until <= time.time():
            raise AuthFailed("This API key has expired.")
        if self.barred is not None:
            raise AuthFailed(self.barred)


class KeyTable:
    """Keys by the SHA-256 of each text, and by id. A rotated key's old text counts until its time.
    May be made on any thread."""

    def __init__(self, keys: Iterable[Key]) -> None:
        self.by_hash: dict[bytes, KnownKey] = {}
        self.by_id: dict[str, KnownKey] = {}
        self.weights: dict[str, float] = {}
        """By owner."""
        for key in keys:
            give_way()
            self.add(key)

    def add(self, key: Key) -> None:
        known = KnownKey(key, key.caller(), key.expires_at, key.barred)
        self.by_id[key.key_id] = self.by_hash[key.secret_hash] = known
        if key.previous_hash is not None:
            until = earlier(key.previous_until, key.expires_at)
            self.by_hash[key.previous_hash] = known._replace(until=until)
        self.weights[key.owner] = key.above.weight

    def forget(self, key_ids: Iterable[str]) -> None:
        for key_id in key_ids:
            if (known := self.by_id.pop(key_id, None)) is not None:
                self.by_hash.pop(known.key.secret_hash, None)
                self.by_hash.pop(known.key.previous_hash or b"", None)


class KeyRing:
    """All keys by the SHA-256 of their text. Belongs to the event loop."""

    def __init__(self, keys: Iterable[Key] = ()) -> None:
        self._table = KeyTable(())
        self.by_hash, self._by_id = self._table.by_hash, self._table.by_id
        self.replace(keys)

    def replace(self, keys: Iterable[Key]) -> None:
        """From now on exactly `keys` count. A rotated key's old text counts until its time."""
        self._take(KeyTable(keys))

    def prepared(self, keys: Iterable[Key]) -> Take:
        """What replaces the keys by these."""
        return partial(self._take, KeyTable(keys))

    def _take(self, table: KeyTable) -> Left:
        """The tables that were."""
        left = self.by_hash, self._by_id
        self._table, self.by_hash, self._by_id = table, table.by_hash, table.by_id
        return left

    def change(self, keys: Collection[Key], gone: Set[str]) -> None:
        """From now on `keys` count as they are, and those of the ids `gone` do not."""
        self._table.forget([*gone, *(key.key_id for key in keys)])
        for key in keys:
            self._table.add(key)

    def levels_of(self, key_id: str) -> tuple[LimitedLevel, ...]:
        """Above a key that is there, those with limits."""
        found = self._by_id.get(key_id)
        return () if found is None else found.caller.levels

    def weight_of(self, owner: str) -> float:
        """An owner's share of what all want, beside the others'."""
        return self._table.weights.get(owner, 1.0)

    def current(self, key_id: str) -> Caller:
        """The caller behind a key that was accepted before. Raises AuthFailed where it is not any
        more."""
        found = self._by_id.get(key_id)
        if found is None:
            raise AuthFailed("This API key is not there any more.")
        found.check_alive()
        return found.caller

    def all_keys(self) -> list[Key]:
        return [known.key for known in self._by_id.values()]

    def authenticate(
        self, headers: Iterable[tuple[bytes, bytes]], *, service: str = "llm"
    ) -> Caller:
        """The caller behind raw ASGI headers. Raises AuthFailed, WrongService."""
        return self.find(_presented(headers), service=service)

    def admin_key(self, headers: Iterable[tuple[bytes, bytes]]) -> Key:
        """The key of the service `admin` behind raw ASGI headers. Raises as `authenticate`."""
        return self._known(_presented(headers), "admin").key

    def find(self, secret: str | bytes, *, service: str = "llm") -> Caller:
        """The caller behind a key's text. Raises AuthFailed, WrongService.

        The secret itself is never compared: only its digest is looked up, which tells a guesser's
        stopwatch nothing.
        """
        return self._known(secret, service).caller

    def _known(self, secret: str | bytes, service: str) -> KnownKey:
        found = self.by_hash.get(hash_of(secret))
        if found is None:
            raise refusal(secret, service)
        found.check_alive()
        if found.key.service != service:
            raise wrong_service(found.key.service, service)
        return found


def earlier(one: float | None, other: float | None) -> float | None:
    times = [time_s for time_s in (one, other) if time_s is not None]
    return min(times, default=None)


def presented_key(headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
    """X-API-Key, or else the bearer token; the scheme's case does not matter."""
    bearer: bytes | None = None
    for name, value in headers:
        if name == b"x-api-key" and value.strip():
            return value.strip()
        if name == b"authorization" and value[:7].lower() == b"bearer ":
            bearer = value[7:].strip()
    return bearer


def _presented(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Raises AuthFailed where there is none."""
    if secret := presented_key(headers):
        return secret
    raise AuthFailed("No API key: send it as X-API-Key: <key> or Authorization: Bearer <key>.")


def refusal(secret: str | bytes, service: str) -> AuthError:
    """Why a key that nobody knows is refused: its prefix may name another service."""
    text = secret.decode(errors="replace") if isinstance(secret, bytes) else secret
    prefix, _, rest = text.partition("_")
    named = rest.partition("_")[0]
    if prefix == "wayscloud" and "_" in rest and named not in (service, "llm", "admin", ""):
        return wrong_service(named, service)
    return AuthFailed("Unknown API key.")


def wrong_service(named: str, service: str) -> WrongService:
    return WrongService(
        f"This is a key of the service {named[:32]!r}; this endpoint needs one that begins with "
        f"wayscloud_{service}_."
    )


def check_model(caller: Caller, alias: str) -> None:
    """Raises ModelNotAllowed where the key is limited to other aliases."""
    if caller.models is not None and alias not in caller.models:
        allowed = ", ".join(sorted(caller.models)) or "no model"
        raise ModelNotAllowed(
            f"This API key may not use the model {alias!r}; it may use {allowed}."
        )
