"""Requests without a server, for what reads their headers."""

from starlette.requests import Request


def request_to(host: str) -> Request:
    """A GET of / at that host."""
    headers = [(b"host", host.encode())]
    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": headers}
    return Request({**scope, "scheme": "http", "server": ("testserver", 80)})
