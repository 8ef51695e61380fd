"""A server's operator needs no key on its own machine: who may read the data directory may as well
make one. The token is the running server's alone, and opens /admin/v1."""

import hmac
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from server.accounts.private_files import read_private, write_private

TOKEN_NAME = "operator_token"
OPERATOR = "operator"
"""Who it was, in log lines."""


@contextmanager
def operator_token(data_dir: Path) -> Iterator[str]:
    """A new one, in a file while the server runs. Raises OSError."""
    path, token = data_dir / TOKEN_NAME, f"wayscloud_admin_{secrets.token_urlsafe(32)}"
    write_private(path, token)
    try:
        yield token
    finally:
        path.unlink(missing_ok=True)


def kept_token(data_dir: Path) -> str | None:
    """Of the server that runs on this data directory, where this user may read it."""
    return read_private(data_dir / TOKEN_NAME)


def is_token(presented: bytes | None, token: str) -> bool:
    """In constant time; no token fits an empty one."""
    return bool(token) and hmac.compare_digest(presented or b"", token.encode())
