"""A node's secret, or its site's: names that say nothing of what they name, and sealed answers."""

import hashlib
import hmac
import os
import zlib
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from engines.host.synced import synced, write_synced

FILE_NAME: Final = "idempotency.key"
_BYTES: Final = 32
_NONCE: Final = 12


class SiteSecret:
    """Of 32 bytes. Nothing that is kept can be read, or guessed at, without it. `tells_owners`:
    they are told apart by their own names, as in a site's other tables."""

    def __init__(self, secret: bytes, *, tells_owners: bool = False) -> None:
        self._tells_owners = tells_owners
        self._names = hashlib.sha256(b"names" + secret).digest()
        self._cipher = AESGCM(hashlib.sha256(b"answers" + secret).digest())

    def name_of(self, *parts: str) -> bytes:
        """32 bytes that are the same for the same parts alone."""
        sized = b"".join(b"%d:%b" % (len(raw), raw) for raw in (part.encode() for part in parts))
        return self.print_of(sized)

    def owner(self, owner: str) -> bytes:
        return owner.encode() if self._tells_owners else self.name_of(owner)

    def print_of(self, body: bytes) -> bytes:
        """32 bytes by which a body is known again."""
        return hmac.digest(self._names, body, "sha256")

    def seal(self, answer: bytes, entry_id: bytes) -> bytes:
        """Compressed and encrypted, for that entry alone."""
        nonce = os.urandom(_NONCE)
        return nonce + self._cipher.encrypt(nonce, zlib.compress(answer, 1), entry_id)

    def unseal(self, sealed: bytes, entry_id: bytes) -> bytes | None:
        """None: it was sealed with another secret or for another entry, or is damaged."""
        try:
            packed = self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], entry_id)
            return zlib.decompress(packed)
        except (InvalidTag, ValueError, zlib.error):
            return None


def shared_secret(site_key: bytes) -> SiteSecret:
    """All of a site's nodes have it: its memory's key has made it."""
    return SiteSecret(hmac.digest(site_key, b"fjord idempotency 1", "sha256"), tells_owners=True)


def site_secret(data_dir: Path) -> SiteSecret:
    """The data directory's, made where there is none. Raises OSError."""
    path = data_dir / FILE_NAME
    found = path.read_bytes() if path.exists() else b""
    if len(found) != _BYTES:
        found = os.urandom(_BYTES)
        _write(path, found)
    return SiteSecret(found)


def _write(path: Path, secret: bytes) -> None:
    """Whole or not at all: what was sealed with half of one, or a lost one, is never opened."""
    new = path.with_suffix(".new")
    write_synced(new, secret)
    new.replace(path)
    synced(path.parent)
