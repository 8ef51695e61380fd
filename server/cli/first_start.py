"""What a start does before it serves: a place to write, a port, a first key."""

import errno
import hmac
import resource
import socket
import tempfile
from collections.abc import Iterable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from server.accounts.private_files import read_private, write_private
from server.http.web_pages import is_loopback
from server.ledger.database import SqliteDatabase
from server.ledger.key_store import KeyStore
from server.ledger.keys import Key, hash_of
from server.refusal import CannotStart

FIRST_KEY_NAME = "first_key"
BACKLOG = 2048
MOST_FILES = 2**18


@dataclass(frozen=True, slots=True)
class FirstKey:
    """The key of a first start."""

    text: str
    is_new: bool
    kept_at: Path | None
    """None: it was shown, and is nowhere else."""


def check_exposure(flag: str, host: str, no_auth: bool) -> None:
    if no_auth and not is_loopback(host):
        raise CannotStart(
            f"--no-auth serves everybody who reaches {host}; it is allowed on loopback only. "
            f"Leave it out, or use {flag} 127.0.0.1."
        )


def prepare_data_dir(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise CannotStart(
            f"The data directory {path.absolute()} cannot be written: {error.strerror}. "
            "Choose another with --data-dir."
        ) from None


def raise_open_files() -> None:
    """As many connections as this user may have: 1,024 is what a shell gives."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def listening_socket(host: str, port: int, prefix: str = "--") -> socket.socket:
    """Listens at once, before anything is loaded: two servers could both bind without listening,
    and a client that comes early waits instead of being refused. `prefix`: of the flags that say
    where."""
    try:
        found = socket.getaddrinfo(
            host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, kind, protocol, _, address = found[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise CannotStart(f"{prefix}host {host} is no address of this machine: {error}.") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise CannotStart(_why_not(host, port, prefix, error)) from None
    return listener


def _why_not(host: str, port: int, prefix: str, error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return f"Port {port} on {host} is in use; choose another with {prefix}port."
        case errno.EACCES:
            return f"Port {port} needs more rights than this user has; choose one above 1023."
        case errno.EADDRNOTAVAIL:
            return f"{prefix}host {host} is no address of this machine."
        case _:
            return f"Cannot listen on {host}:{port}: {error.strerror}."


def first_key(data_dir: Path, ledger: Path, *, keep: bool, show: bool) -> FirstKey | None:
    """A key for who starts Fjord for the first time, where the ledger has none at all.

    With `keep` (only this machine reaches the server) its text stays in the data directory,
    readable by this user only, so that later starts can show it and `fjord run` can use it.
    Deleting the file, or revoking the key, ends that. With neither `keep` nor `show` (a terminal
    to show it on) no key is made: nobody would ever know it. None: there are keys, and no kept
    text fits one of them, or none was made.
    """
    path = data_dir / FIRST_KEY_NAME
    with closing(SqliteDatabase(ledger)) as database:
        store = KeyStore(database)
        keys = store.list()
        if keys:
            text = kept_key(data_dir)
            return FirstKey(text, False, path) if text and _fits(text, keys) else None
        if not (keep or show):
            return None
        with database.writing("keys"):  # a key whose text could not be kept is none
            _, text = store.create(Key(key_id="", name="first", owner="first"))
            if keep:
                write_private(path, text)
    return FirstKey(text, True, path if keep else None)


def kept_key(data_dir: Path) -> str | None:
    """The text of the key that an earlier first start kept."""
    return read_private(data_dir / FIRST_KEY_NAME)


def _fits(text: str, keys: Iterable[Key]) -> bool:
    digest = hash_of(text)
    return any(
        hmac.compare_digest(key.secret_hash, digest) and key.revoked_at is None for key in keys
    )
