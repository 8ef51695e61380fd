"""Cookies: signed, for scripts out of reach, sent by other sites' links at most."""

import hashlib
import hmac
import secrets
from typing import Any, Final, Literal

from itsdangerous import BadData, Signer, URLSafeTimedSerializer
from starlette.requests import Request
from starlette.responses import Response

SESSION: Final = "fjord_session"
DOOR: Final = "fjord_door"
FLOW: Final = "fjord_flow"
KNOWN: Final = "fjord_known"
"""Of a browser in which somebody has signed in before."""
FLOW_S: Final = 600
KNOWN_S: Final = 180 * 86_400
_MOST: Final = 4096

Name = Literal["fjord_session", "fjord_door", "fjord_flow", "fjord_known"]


class Cookies:
    """Read and written for one site. Over TLS their names begin with __Host-, so that no other
    host of the same domain can set them."""

    def __init__(self, secret: str, *, is_secure: bool = False) -> None:
        """`is_secure`: browsers reach the server over TLS, also where a proxy speaks it."""
        self._secret = secret
        self._is_secure = is_secure

    def read(self, request: Request, name: Name) -> str | None:
        """What was set; None: nothing, or it is not as we signed it."""
        value = request.cookies.get(self._name(request, name), "")[:_MOST]
        try:
            return self._signer(name).unsign(value.encode(errors="replace")).decode()
        except (BadData, UnicodeError):
            return None

    def set(self, request: Request, response: Response, name: Name, value: str) -> None:
        """Until the browser is closed, but for KNOWN; the server's own end counts."""
        is_secure = self._is_tls(request)
        response.set_cookie(
            self._name(request, name),
            self._signer(name).sign(value).decode(),
            max_age=KNOWN_S if name == KNOWN else None,
            path="/" if is_secure else "/console",
            secure=is_secure,
            httponly=True,
            samesite="lax",
        )

    def drop(self, request: Request, response: Response, name: Name) -> None:
        is_secure = self._is_tls(request)
        response.delete_cookie(
            self._name(request, name),
            path="/" if is_secure else "/console",
            secure=is_secure,
            httponly=True,
            samesite="lax",
        )

    def sealed(self, flow: dict[str, Any]) -> str:
        return str(self._serializer().dumps(flow))

    def opened(self, value: str) -> dict[str, Any] | None:
        """None where it is older than ten minutes."""
        try:
            found: dict[str, Any] = self._serializer().loads(value, max_age=FLOW_S)
        except BadData:
            return None
        return found

    def form_token(self, value: str) -> str:
        """What a form must carry whose page came with the cookie `value`."""
        key = hashlib.sha256(f"form {self._secret}".encode()).digest()
        return hmac.new(key, value.encode(), "sha256").hexdigest()

    def is_form_token(self, value: str | None, given: str) -> bool:
        known = self.form_token(value or secrets.token_hex())
        return hmac.compare_digest(known.encode(), given.encode(errors="replace"))

    def _signer(self, name: Name) -> Signer:
        return Signer(self._secret, salt=name, digest_method=hashlib.sha256)

    def _serializer(self) -> URLSafeTimedSerializer:
        return URLSafeTimedSerializer(
            self._secret, salt="flow", signer_kwargs={"digest_method": hashlib.sha256}
        )

    def _name(self, request: Request, name: Name) -> str:
        return f"__Host-{name}" if self._is_tls(request) else name

    def _is_tls(self, request: Request) -> bool:
        return self._is_secure or request.url.scheme == "https"
