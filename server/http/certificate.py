"""The certificate that TLS begins with: read from its files at the start, and again once they have
changed.

uvicorn and the event loop keep one context for as long as a server runs. Each handshake takes the
newest one from it, so that new connections get the new certificate and open ones keep theirs."""

import asyncio
import logging
import ssl
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding

from server.refusal import CannotStart

LOOK_S = 2.0
"""Between two looks at the files: two `stat` each, on a worker thread."""
MOST_BYTES = 2**20
"""Of a file; a long chain has 20 KB."""

State: TypeAlias = tuple[tuple[int, ...] | None, ...]
"""What tells whether files have changed; None: one that cannot be looked at."""

log = logging.getLogger("fjord.tls")


class BadCertificate(CannotStart):
    """In one line: which file, and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate with its key, fit to begin connections."""

    context: ssl.SSLContext
    begins_at: float
    ends_at: float
    """Unix seconds, of the server's own certificate (the file's first)."""
    name: str | None
    """The first host that it is for, unless that is a pattern."""
    text: str
    """The server's own certificate in PEM."""

    def trouble(self, now: float) -> str | None:
        """Why clients will refuse it at that time, if they will."""
        if now >= self.ends_at:
            return f"has ended on {day(self.ends_at)}"
        return f"is for after {day(self.begins_at)} only" if now < self.begins_at else None


class ServedCertificate:
    """The newest good pair of two files, and the context that serves it. Raises BadCertificate."""

    def __init__(self, cert: Path, key: Path) -> None:
        self._files = cert, key
        self._known = _state(self._files)
        """Of the files when they were last taken, or found wrong and told so."""
        self._doubted: State | None = None
        """Of files that were wrong at the last look: they may be in the middle of being written."""
        self._one_look = asyncio.Lock()
        self.on_new: Callable[[], None] | None = None
        """Called on a worker thread once `newest` is another one."""
        self.newest = read_pair(cert, key)
        self.context = self.newest.context
        self.context.sni_callback = self._begin

    async def watch(self) -> None:
        """Look for ever; to be cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            async with self._one_look:
                await asyncio.to_thread(self.look)

    async def read_again(self) -> str:
        """Now, whatever has changed: what came of it, in words."""
        async with self._one_look:
            return await asyncio.to_thread(self._read_again)

    def tell(self, now: float) -> None:
        """To the log: until when it holds."""
        if trouble := self.newest.trouble(now):
            log.warning("the certificate %s %s; clients refuse it", self._files[0], trouble)
        else:
            log.info("the certificate %s ends on %s", self._files[0], day(self.newest.ends_at))

    def _begin(self, connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        connection.context = self.newest.context

    def look(self) -> None:
        """Take files that have changed. Wrong ones are told of at the second look."""
        state = _state(self._files)
        if state == self._known:
            return
        try:
            self._take(state)
        except BadCertificate as why:
            if state == self._doubted:
                self._keep(state, why)
            self._doubted = state

    def _read_again(self) -> str:
        state = _state(self._files)
        try:
            self._take(state)
        except BadCertificate as why:
            self._keep(state, why)
            return "The certificate has a mistake."
        return "The certificate was read again."

    def _take(self, state: State) -> None:
        self.newest = read_pair(*self._files)
        self._known, self._doubted = state, None
        self.tell(time.time())
        if self.on_new is not None:
            self.on_new()

    def _keep(self, state: State, why: BadCertificate) -> None:
        """Once a state: until the files change again there is nothing new to tell."""
        if state != self._known:
            log.warning("%s The certificate before it stays in use.", why)
        self._known = state


def read_pair(cert: Path, key: Path) -> Pair:
    """Raises BadCertificate."""
    own = _own_certificate(_readable(cert, "--tls-cert"), cert)
    _readable(key, "--tls-key")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(cert, key, password=_no_passphrase)
    except _AsksForPassphrase:
        raise BadCertificate(
            f"--tls-key {key} asks for a passphrase, and a server has nobody to ask: "
            "`openssl pkey -in … -out …` writes it without one."
        ) from None
    except OSError as error:  # ssl.SSLError is one
        raise BadCertificate(_why_not(cert, key, error)) from None
    return Pair(
        context=context,
        begins_at=own.not_valid_before_utc.timestamp(),
        ends_at=own.not_valid_after_utc.timestamp(),
        name=_name(own),
        text=own.public_bytes(Encoding.PEM).decode(),
    )


class _AsksForPassphrase(Exception):
    """OpenSSL would ask the terminal."""


def _no_passphrase() -> str:
    raise _AsksForPassphrase


def _own_certificate(text: bytes, path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificates(text)[0]
    except (ValueError, x509.InvalidVersion, UnsupportedAlgorithm):
        raise BadCertificate(f"--tls-cert {path} holds no certificate in PEM.") from None


def _readable(path: Path, flag: str) -> bytes:
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise BadCertificate(f"{flag} {path} is no file.")
        if found.st_size > MOST_BYTES:
            raise BadCertificate(f"{flag} {path} is larger than {MOST_BYTES} bytes.")
        return path.read_bytes()
    except OSError as error:
        raise BadCertificate(f"{flag} {path} cannot be read: {error.strerror}.") from None


def _why_not(cert: Path, key: Path, error: OSError) -> str:
    reason = getattr(error, "reason", None)
    if reason == "KEY_VALUES_MISMATCH":
        return f"--tls-key {key} is not the key of the first certificate in --tls-cert {cert}."
    if reason in (None, "PEM_LIB", "NO_START_LINE", "BAD_END_LINE", "BAD_BASE64_DECODE"):
        what = "a whole chain and a private key in PEM would be right"
        return f"--tls-cert {cert} with --tls-key {key} cannot be used: {what}."
    words = str(reason).lower().replace("_", " ")
    return f"--tls-cert {cert} with --tls-key {key} cannot be used: OpenSSL says {words}."


def _name(own: x509.Certificate) -> str | None:
    try:
        names = own.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, UnsupportedAlgorithm, ValueError):
        return None
    hosts = names.get_values_for_type(x509.DNSName)
    return next((str(host) for host in hosts if "*" not in host), None)


def _state(files: tuple[Path, ...]) -> State:
    return tuple(_state_of(file) for file in files)


def _state_of(file: Path) -> tuple[int, ...] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def day(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%d %H:%M UTC")
