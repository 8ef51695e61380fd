"""manifest.sig: the manifest's SHA-256 and, where there is a key, an Ed25519 signature over it.

Keys are PEM files, as openssl has them. Signing needs the library cryptography; verifying takes it
where it is installed.
"""

import base64
import binascii
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.bundle.ed25519 import is_signed
from engines.bundle.errors import BundleError

MOST_BYTES = 4096
_SPKI = bytes.fromhex("302a300506032b6570032100")
"""What stands before the 32 bytes of an Ed25519 public key in its DER form."""


@dataclass(frozen=True, slots=True)
class Seal:
    """What was found out about a manifest."""

    signed_by: str | None
    """The key's fingerprint; None: it is not signed."""
    is_trusted: bool
    """It is the key that was asked for."""

    def in_words(self) -> str:
        if self.signed_by is None:
            return "NOT SIGNED: whoever had the file could have changed it"
        if self.is_trusted:
            return f"signed by the given key {self.signed_by}"
        return f"signed by {self.signed_by}; by whom was not checked (--key PUB checks it)"


def fingerprint(public_key: bytes) -> str:
    return hashlib.sha256(public_key).hexdigest()[:16]


def new_key(private: Path, public: Path) -> str:
    """Writes both, the private one for this user alone; -> the fingerprint. Raises OSError."""
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    secret = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    handle = os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(secret)
    raw = key.public_key().public_bytes_raw()
    public.write_text(_as_pem(raw), "ascii")
    return fingerprint(raw)


def seal(manifest: bytes, private: Path | None) -> bytes:
    """The bytes of manifest.sig. Raises BundleError where the key cannot be read."""
    written: dict[str, str | None] = {"sha256": hashlib.sha256(manifest).hexdigest()}
    written |= {"algorithm": None, "public_key": None, "signature": None}
    if private is not None:
        key = _private_key(private)
        written["algorithm"] = "ed25519"
        written["public_key"] = _base64(key.public_key().public_bytes_raw())
        written["signature"] = _base64(key.sign(manifest))
    return _encoded(written)


def checked(raw: bytes, manifest: bytes, key: bytes | None) -> Seal:
    """Raises BundleError where the manifest is another than was sealed, or `key` (32 bytes) is
    given and did not sign it."""
    sealed = _read(raw)
    if sealed["sha256"] != hashlib.sha256(manifest).hexdigest():
        raise BundleError("manifest.json is damaged: its SHA-256 is not the one in manifest.sig")
    if sealed["signature"] is None:
        if key is not None:
            raise BundleError(
                f"the bundle is not signed, and key {fingerprint(key)} is demanded; right would be "
                "a bundle that was made with --key"
            )
        return Seal(None, False)
    public, signature = _unbase64(sealed["public_key"]), _unbase64(sealed["signature"])
    if key is not None and public != key:
        raise BundleError(
            f"the bundle is signed by key {fingerprint(public)}, and {fingerprint(key)} is demanded"
        )
    if not _is_right(public, signature, manifest):
        raise BundleError("the signature in manifest.sig is wrong: the manifest was changed")
    return Seal(fingerprint(public), key is not None)


def public_key(path: Path) -> bytes:
    """The 32 bytes. Raises BundleError."""
    try:
        lines = path.read_text("ascii").split()
        der = base64.b64decode("".join(lines[3:-3]), validate=True)
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError:
        der = b""
    if not der.startswith(_SPKI) or len(der) != len(_SPKI) + 32:
        raise BundleError(
            f"{path} is no public key (Ed25519, PEM); right would be what `fjord bundle key` wrote "
            "as NAME.pub"
        )
    return der[len(_SPKI) :]


def _read(raw: bytes) -> dict[str, Any]:
    """As it was written, to the byte: what is not compared could be changed."""
    try:
        sealed: dict[str, Any] = json.loads(raw)
        is_ours = isinstance(sealed, dict) and _encoded(sealed) == raw
        if is_ours and set(sealed) == {"sha256", "algorithm", "public_key", "signature"}:
            is_signed_by = sealed["algorithm"] == "ed25519"
            if is_signed_by == (sealed["signature"] is not None):
                return sealed
    except (ValueError, RecursionError):
        pass
    raise BundleError("manifest.sig is damaged")


def _encoded(sealed: dict[str, Any]) -> bytes:
    return json.dumps(sealed, indent=1).encode() + b"\n"


def _is_right(public: bytes, signature: bytes, message: bytes) -> bool:
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError:
        return is_signed(public, signature, message)
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def _private_key(path: Path) -> Any:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise BundleError(
            f"{path} is no private key (Ed25519, PEM, without a password); right would be what "
            "`fjord bundle key` wrote as NAME.key"
        )
    return key


def _as_pem(raw: bytes) -> str:
    body = _base64(_SPKI + raw)
    return f"-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n"


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _unbase64(text: Any) -> bytes:
    try:
        return base64.b64decode(str(text), validate=True)
    except (binascii.Error, ValueError):
        raise BundleError("manifest.sig is damaged") from None
