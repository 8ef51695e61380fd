"""The first admin's one-time link: made where no admin can sign in, kept for who may read the data
directory."""

from pathlib import Path

from server.accounts.private_files import read_private, write_private
from server.ledger.database import Database
from server.ledger.password_store import LinkEnded, PasswordStore

LINK_NAME = "console_link"


def first_admin_link(books: Database, data_dir: Path, address: str) -> str | None:
    """Its URL; the one that was made before, while it holds. None: an admin can sign in already.
    Raises OSError, LedgerError."""
    passwords, path = PasswordStore(books), data_dir / LINK_NAME
    if passwords.has_admin():
        path.unlink(missing_ok=True)
        return None
    token = (read_private(path) or "").rpartition("/")[2]
    try:
        passwords.link(token)
    except LinkEnded:
        token = passwords.invite(None)
    url = welcome_url(address, token)
    write_private(path, url)
    return url


def welcome_url(address: str, token: str) -> str:
    return f"{address.rstrip('/')}/console/welcome/{token}"
