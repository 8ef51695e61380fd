"""The Host of a request: exactly one in HTTP/1.1, a name or an address with or without a port (RFC
9112, 3.2). What stands behind a proxy otherwise disagrees with it about who was asked."""

import re

from server.errors import ApiError
from server.http.asgi import Scope

_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9\-._~%!$&'()*+,;=]*)(?::[0-9]*)?")


def check_host(scope: Scope) -> None:
    """Raises ApiError 400, which closes the connection: its end is in doubt, too."""
    hosts = [value for name, value in scope["headers"] if name == b"host"]
    if len(hosts) > 1:
        raise _refused("HTTP/1.1 takes one Host header, not several.")
    if not hosts and scope["http_version"] == "1.1":
        raise _refused("HTTP/1.1 needs a Host header.")
    if hosts and not _HOST.fullmatch(hosts[0]):
        raise _refused("The Host header is no name or address with a port.")


def _refused(message: str) -> ApiError:
    error = ApiError.invalid(message, "Host", None, "one name or address, with or without a port")
    error.headers["Connection"] = "close"
    return error
