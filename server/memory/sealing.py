"""What lies on the disk: compressed, then AES-256-GCM under a key, bound to what it is.

12 bytes of nonce, then the ciphertext with its tag. The associated data name owner, kind and id, so
that no row can stand in another's place.
"""

import os
import threading
from typing import Final

import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from server.memory.errors import MemoryTrouble

KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_LEVEL: Final = 3
_MOST_BYTES: Final = 256 * 2**20
"""Of one object, unpacked."""


class _Packers(threading.local):
    """A thread's own: each takes longer to make than to use."""

    def __init__(self) -> None:
        self.pack = zstandard.ZstdCompressor(level=_LEVEL).compress
        self.unpack = zstandard.ZstdDecompressor().decompress


_own = _Packers()


class WrongSeal(MemoryTrouble):
    """It was sealed with another key, as something else, or is damaged."""


class Sealer:
    """Seals for one key."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def seal(self, plain: bytes, *place: str) -> bytes:
        """`place`: what it is, of whom."""
        nonce = os.urandom(_NONCE_BYTES)
        packed = _own.pack(plain)
        return nonce + self._cipher.encrypt(nonce, packed, _bound(place))

    def open(self, sealed: bytes, *place: str) -> bytes:
        """Raises WrongSeal."""
        sealed = bytes(sealed)
        try:
            packed = self._cipher.decrypt(
                sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], _bound(place)
            )
            return _own.unpack(packed, max_output_size=_MOST_BYTES)
        except (InvalidTag, ValueError, zstandard.ZstdError):
            raise WrongSeal(f"What is kept as {place[0]} cannot be opened.") from None


def new_data_key() -> bytes:
    return AESGCM.generate_key(bit_length=8 * KEY_BYTES)


def _bound(place: tuple[str, ...]) -> bytes:
    """Lengths before texts: no two places have the same."""
    return b"fjord memory 1" + b"".join(b"%d:%b" % (len(p), p) for p in map(str.encode, place))
