"""What a server would listen on: port, Unix socket, operators' port; and its certificate."""

import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from server.cli.doctor.diagnosis import Diagnosis, bad, note, ok
from server.cli.first_start import listening_socket
from server.cli.network import check_flags
from server.cli.unix_socket import is_answered
from server.ledger.errors import LedgerInUse
from server.ledger.serving_lock import ServingLock
from server.refusal import CannotStart
from server.settings import Settings

MOST_PATH_BYTES = 107
"""Of a Unix socket: the kernel's 108, less the end's zero."""
SOON_S = 14 * 86_400
"""As the alert FjordCertificateEnding."""


def port(settings: Settings) -> Iterator[Diagnosis]:
    """Free, or a running server's of this data directory."""
    if settings.has_port:
        yield _free("port", settings.host, settings.port, "--", settings)


def ops_port(settings: Settings) -> Iterator[Diagnosis]:
    if settings.ops_port is None:
        return
    wanted = settings.ops_port
    if settings.has_port and wanted == settings.port != 0:
        words = f"--ops-port {wanted} is --port, too"
        yield bad("ops port", words, "choose another: each listens on its own")
        return
    yield _free("ops port", settings.ops_host, wanted, "--ops-", settings)


def _free(name: str, host: str, number: int, prefix: str, settings: Settings) -> Diagnosis:
    where = f"{number} on {host}"
    holder = _holder(settings.data_dir)
    try:
        listening_socket(host, number, prefix).close()
    except CannotStart as refusal:
        if holder is None:
            return bad(name, str(refusal), "")
        return ok(name, f"{where}: a Fjord serves (process {holder})")
    return ok(name, f"{where} is free")


def unix_socket(settings: Settings) -> Iterator[Diagnosis]:
    """Its folder and what lies at its path; nothing is made and nothing removed."""
    if settings.uds is not None:
        yield _at(settings.uds, settings.data_dir)


def _at(path: Path, data_dir: Path) -> Diagnosis:
    name, folder, length = "unix socket", path.parent, len(os.fsencode(path))
    if length > MOST_PATH_BYTES:
        words = f"--uds has {length} bytes, and the kernel takes {MOST_PATH_BYTES}"
        return bad(name, words, "choose a shorter path, like /run/fjord/fjord.sock")
    if not folder.is_dir():
        return bad(name, f"there is no folder {folder}", "make it, owned by the server's user")
    if not os.access(folder, os.W_OK | os.X_OK):
        return bad(name, f"{folder} cannot be written", "give the folder to the server's user")
    try:
        found = path.lstat()
    except FileNotFoundError:
        return ok(name, f"{path} is free")
    if not stat.S_ISSOCK(found.st_mode):
        return bad(name, f"{path} is there, and is no socket", "take it away, or choose another")
    try:
        is_living = is_answered(path)
    except OSError as error:
        return bad(name, f"{path} cannot be asked: {error.strerror}", "see whose it is")
    if not is_living:
        return ok(name, f"{path} is a dead server's; the next start takes its place")
    holder = _holder(data_dir)
    if holder is None:
        return bad(name, f"{path} is another server's, which runs", "choose another")
    return ok(name, f"{path}: a Fjord serves (process {holder})")


def certificate(settings: Settings) -> Iterator[Diagnosis]:
    """Readable, of one pair, and for today. Raises CannotStart."""
    files = check_flags(settings)
    if files is None:
        return
    from server.http.certificate import day, read_pair

    pair, now = read_pair(*files), time.time()
    words = f"{f'for {pair.name}, ' if pair.name else ''}until {day(pair.ends_at)}"
    remedy = "renew it; a running server takes the new one by itself"
    if trouble := pair.trouble(now):
        yield bad("certificate", f"it {trouble}: clients refuse it", remedy)
    elif pair.ends_at - now < SOON_S:
        yield note("certificate", f"it ends soon: {words}", remedy)
    else:
        yield ok("certificate", words)
    yield from _private(files[1])


def _private(key: Path) -> Iterator[Diagnosis]:
    if key.stat().st_mode & stat.S_IROTH:
        yield note("private key", f"everybody on this machine can read {key}", "chmod o-r it")


def _holder(data_dir: Path) -> str | None:
    """The process that serves from this data directory."""
    if not data_dir.is_dir():
        return None
    lock = ServingLock(data_dir)
    try:
        lock.take()
    except LedgerInUse:
        return lock.holder()
    except OSError:
        return None
    lock.release()
    return None
