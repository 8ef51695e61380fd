"""What an issuer says of a person, and whether it is the issuer that says so, of this sign-in, to
us (OpenID Connect Core 1.0, 3.1.3.7)."""

import base64
import binascii
import json
import time
from collections.abc import Iterable, Mapping
from typing import Any, Final

from joserfc import jwk, jwt
from joserfc.errors import JoseError

ALGORITHMS: Final = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "Ed25519", "EdDSA"),
)
"""Signed with a private key: never `none`, never with what everybody may read."""
SKEW_S: Final = 60.0
OLDEST_S: Final = 600.0
MOST_BYTES: Final = 64 * 1024


class IdentityRefused(Exception):
    """What came back is no proof of who it is; the message is fit for a page."""


def key_id_of(token: object) -> str | None:
    """Which key its header names. Raises IdentityRefused."""
    if not isinstance(token, str) or len(token) > MOST_BYTES or token.count(".") != 2:
        raise IdentityRefused("The issuer sent no ID token.")
    head = token.partition(".")[0]
    try:
        header = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    except (ValueError, RecursionError, binascii.Error):
        raise IdentityRefused("The ID token is damaged.") from None
    if not isinstance(header, dict) or header.get("alg") not in ALGORITHMS:
        raise IdentityRefused("The ID token is not signed in a way that proves anything.")
    key_id = header.get("kid")
    return key_id if isinstance(key_id, str) else None


def claims_of(token: str, keys: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Signed by one of `keys`. Raises IdentityRefused."""
    for key in keys:
        if key.get("use", "sig") != "sig" or key.get("kty") not in ("RSA", "EC", "OKP"):
            continue
        try:
            return dict(jwt.decode(token, jwk.import_key(dict(key)), list(ALGORITHMS)).claims)
        except (JoseError, ValueError, TypeError, KeyError, RecursionError):
            continue
    raise IdentityRefused("The ID token is not signed by the issuer's keys.")


def check_claims(
    claims: Mapping[str, Any], *, issuer: str, client_id: str, nonce: str, now: float | None = None
) -> None:
    """Raises IdentityRefused."""
    now = time.time() if now is None else now
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    party = claims.get("azp")
    issued, ends, begins = (_moment(claims.get(name)) for name in ("iat", "exp", "nbf"))
    wrong = {
        "of another issuer": claims.get("iss") != issuer,
        "for somebody else": client_id not in audiences
        or (party is not None and party != client_id)
        or (len(audiences) > 1 and party != client_id),
        "over": ends is None or ends < now - SKEW_S,
        "of another time": issued is None or not now - OLDEST_S <= issued <= now + SKEW_S,
        "not valid yet": begins is not None and begins > now + SKEW_S,
        "of another sign-in": claims.get("nonce") != nonce,
        "of nobody": not _is_subject(claims.get("sub")),
    }
    if (reason := next((words for words, is_so in wrong.items() if is_so), None)) is not None:
        raise IdentityRefused(f"The ID token is {reason}.")


def _moment(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < 1e12 else None


def _is_subject(value: object) -> bool:
    if not isinstance(value, str):
        return False
    return 0 < len(value) <= 255 and value.isprintable() and not value.isspace()
