"""Which web pages a server answers: none of others' where it asks for no key, and CORS for those
that it is told of."""

import ipaddress
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from server.errors import ApiError
from server.http.asgi import Scope
from server.http.request_log import ANSWER_HEADERS

Headers = list[tuple[bytes, bytes]]

_EXPOSED = (
    b"X-Request-Id, Retry-After, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, "
    b"Idempotency-Replayed"
)
_METHODS = b"GET, POST, PUT, PATCH, DELETE, OPTIONS"
_MAX_AGE_S = b"600"
_PORTS = {"http": 80, "https": 443}


class WebPages:
    """Looks at a request before its endpoint does. A page's origin is scheme, host and port."""

    def __init__(self, origins: Sequence[str], *, is_open: bool) -> None:
        """`origins`: the pages that may call, or `*`. `is_open`: no key is asked for, so that only
        this machine's own programs, and those pages, may."""
        self._origins = frozenset(origin.rstrip("/").lower() for origin in origins)
        self._is_open = is_open

    def preflight(self, scope: Scope) -> Headers | None:
        """Note what the answer must say to a page's browser; where the request only asks whether
        it may be made, the answer's headers. Raises ApiError 403."""
        headers = _first_of_each(scope)
        origin = headers.get(b"origin", b"").decode("latin-1").lower()
        allowed = self._allowed(origin)
        if self._is_open:
            if not _is_unix(scope):
                _check_host(headers.get(b"host", b"").decode("latin-1"))
            if not allowed:
                _check_origin(scope, headers, origin)
        if not self._origins:
            return None
        answer = _cors(headers[b"origin"]) if allowed else [(b"vary", b"Origin")]
        scope[ANSWER_HEADERS] = answer
        if scope["method"] != "OPTIONS" or b"access-control-request-method" not in headers:
            return None
        return answer + (_permission(headers) if allowed else [])

    def _allowed(self, origin: str) -> bool:
        return bool(origin) and (origin in self._origins or "*" in self._origins)


def _first_of_each(scope: Scope) -> Mapping[bytes, bytes]:
    return dict(reversed(scope["headers"]))


def _cors(origin: bytes) -> Headers:
    return [
        (b"access-control-allow-origin", origin),
        (b"access-control-expose-headers", _EXPOSED),
        (b"vary", b"Origin"),
    ]


def _permission(headers: Mapping[bytes, bytes]) -> Headers:
    asked = headers.get(b"access-control-request-headers", b"")
    permission = [
        (b"access-control-allow-methods", _METHODS),
        (b"access-control-allow-headers", asked or b"Content-Type"),
        (b"access-control-max-age", _MAX_AGE_S),
    ]
    if headers.get(b"access-control-request-private-network") == b"true":
        permission.append((b"access-control-allow-private-network", b"true"))
    return permission


def _check_host(host: str) -> None:
    """A page under a name of its own that resolves to this machine (DNS rebinding) says that name.
    Programs that say none are no browsers."""
    if host and not is_loopback(_name_of(host)):
        raise _forbidden(f"Host {host[:80]!r} is none of this machine's own names.")


def _check_origin(scope: Scope, headers: Mapping[bytes, bytes], origin: str) -> None:
    own = headers.get(b"host", b"").decode("latin-1").lower()
    if origin and not _is_own(scope, origin, own):
        raise _forbidden(f"Origin {origin[:80]!r} is another page's.")
    if origin or headers.get(b"sec-fetch-site", b"none") in (b"none", b"same-origin"):
        return
    if scope["method"] != "GET" or headers.get(b"sec-fetch-mode") != b"navigate":
        raise _forbidden("Sec-Fetch-Site says that another page makes the request.")


def _is_own(scope: Scope, origin: str, host: str) -> bool:
    """On a Unix socket the scheme is that of the proxy in front of it, which nobody has told."""
    if _is_unix(scope):
        return origin.partition("://")[2] == host
    return _address_of(origin) == _address_of(f"{scope['scheme']}://{host}")


def _is_unix(scope: Scope) -> bool:
    """No browser opens a Unix socket, so no page rebinds a name to it: a proxy that was given the
    socket says what host it was asked for."""
    server = scope.get("server")
    return server is not None and server[1] is None


def is_loopback(name: str) -> bool:
    """Whether a host's name means this machine wherever it is resolved."""
    name = name.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def _name_of(host: str) -> str:
    """Without its port."""
    name, _, port = host.rpartition(":")
    return name if name and port.isdigit() else host


def _address_of(origin: str) -> tuple[str, str | None, int | None]:
    try:
        parts = urlsplit(origin)
        return parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return origin, None, None


def _forbidden(reason: str) -> ApiError:
    message = f"{reason} A server without keys answers none; --cors-origin names pages that may."
    return ApiError(403, "INSUFFICIENT_PERMISSIONS", message)
