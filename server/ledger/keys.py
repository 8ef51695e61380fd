"""A key: who may call, what it may use, and how much. The secret is never part of it."""

import hashlib
import secrets
import string
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from server.ledger.allowance import Allowance
from server.ledger.levels import Above, both, with_own_content
from server.ledger.records import Caller

ALPHABET = string.ascii_lowercase + string.digits
ID_LENGTH = 10
SECRET_LENGTH = 56
NOTHING = Above()
KeyState: TypeAlias = Literal["active", "expired", "revoked", "barred"]
"""barred: by what is above it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Key(Allowance):
    """One key as stored. Times in Unix seconds."""

    key_id: str
    name: str
    owner: str
    """Its name."""
    member_id: str | None = None
    """Whose it is, for good; None: nobody's in particular."""
    above: Above = field(default=NOTHING, compare=False, repr=False)
    service: str = "llm"
    """The part of the key's text after `wayscloud_`: llm, or admin."""
    secret_hash: bytes = b""
    """SHA-256 of the key's whole text."""
    previous_hash: bytes | None = None
    """The key's text before its last rotation, accepted until `previous_until`."""
    previous_until: float | None = None
    created_at: float = 0.0
    expires_at: float | None = None
    revoked_at: float | None = None
    last_used_at: float | None = None

    @property
    def counted(self) -> str:
        return self.key_id

    @property
    def barred(self) -> str | None:
        return self.above.barred

    @property
    def levels(self) -> tuple[Allowance, ...]:
        """Itself and what is above it, the nearest first."""
        return (self, *self.above.levels)

    @property
    def is_admin(self) -> bool:
        return self.service == "admin"

    def state(self, now: float) -> KeyState:
        return key_state(self.revoked_at, self.expires_at, self.barred, now)

    def caller(self) -> Caller:
        own, above = self.price_factor, self.above
        return Caller(
            key_id=self.key_id,
            name=self.name,
            owner=self.owner,
            owner_id=above.owner_id,
            service=self.service,
            models=both(self.models, above.models),
            limits=self.limits,
            levels=above.limited,
            currency=self.currency or above.currency,
            price_factor=above.price_factor if own is None else own,
            is_admin=self.is_admin,
            content=with_own_content(self, above.content),
        )


def key_state(
    revoked_at: float | None, expires_at: float | None, barred: str | None, now: float
) -> KeyState:
    if revoked_at is not None:
        return "revoked"
    if expires_at is not None and expires_at <= now:
        return "expired"
    return "active" if barred is None else "barred"


def hash_of(text: str | bytes) -> bytes:
    """What is stored of a key. A key is 290 random bits: a slow hash would protect nothing."""
    return hashlib.sha256(text.encode() if isinstance(text, str) else text).digest()


def new_key_id() -> str:
    return random_text(ID_LENGTH)


def new_key_text(service: str, key_id: str) -> str:
    return f"wayscloud_{service}_{key_id}_{random_text(SECRET_LENGTH)}"


def random_text(length: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))
