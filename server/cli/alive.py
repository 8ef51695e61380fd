"""Whether the server of the data directory lives: for an image's health check, which runs every few
seconds, so that it imports nothing but Python (60 ms; all of our settings would be 500)."""

import http.client
import json
import os
import socket
import ssl
import sys
from pathlib import Path
from urllib.parse import urlsplit

TIMEOUT_S = 4.0


def main() -> int:
    """The exit status: 0 where it answers."""
    try:
        connection = _connection(*_noted(Path(os.environ.get("FJORD_DATA_DIR", "data"))))
        connection.request("GET", "/health")
        return 0 if connection.getresponse().status == http.client.OK else 1
    except (OSError, http.client.HTTPException):
        return 1


def _noted(data_dir: Path) -> tuple[str, str | None]:
    """Its URL and its Unix socket (server_note.py); of FJORD_PORT where none is noted."""
    try:
        link = json.loads((data_dir / "listening").read_text("utf-8"))["api"]
        return str(link["url"]), link.get("uds")
    except (OSError, ValueError, KeyError, TypeError):
        return f"http://127.0.0.1:{os.environ.get('FJORD_PORT', '8080')}", None


def _connection(url: str, uds: str | None) -> http.client.HTTPConnection:
    host = urlsplit(url).netloc
    if uds is not None:
        return _UnixConnection(uds)
    if not url.startswith("https:"):
        return http.client.HTTPConnection(host, timeout=TIMEOUT_S)
    unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # whether it lives, not who it is
    unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE
    return http.client.HTTPSConnection(host, timeout=TIMEOUT_S, context=unverified)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(TIMEOUT_S)
        self.sock.connect(self._path)


if __name__ == "__main__":
    sys.exit(main())
