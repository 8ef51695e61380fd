"""What a server listens on, in plain HTTP or TLS, and how it is reached there."""

import contextlib
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from server.cli.first_start import listening_socket
from server.cli.link import Link
from server.cli.server_note import NOTE_NAME, ServerNote, write_note
from server.cli.trouble import told
from server.http.listener import Listener
from server.http.web_pages import is_loopback
from server.metrics import Metrics
from server.refusal import CannotStart
from server.settings import Settings

if TYPE_CHECKING:
    from server.http.certificate import ServedCertificate

log = logging.getLogger("fjord.serve")


@dataclass(frozen=True, slots=True)
class Network:
    """All of one server's."""

    host: str
    listeners: tuple[Listener, ...]
    certificate: "ServedCertificate | None"

    @property
    def is_exposed(self) -> bool:
        """Other machines reach the server."""
        return not is_loopback(self.host)

    @property
    def url(self) -> str:
        """For people: in TLS by a name that the certificate is for."""
        name = None if self.certificate is None else self.certificate.newest.name
        return self._url(name or self.host)

    @contextlib.contextmanager
    def noted(self, data_dir: Path) -> Iterator[None]:
        """For commands on this machine, while it runs. Raises typer.Exit."""
        with told():
            write_note(data_dir, self._note())
        if self.certificate is not None:
            self.certificate.on_new = lambda: self._note_again(data_dir)
        try:
            yield
        finally:
            (data_dir / NOTE_NAME).unlink(missing_ok=True)

    def measured(self, metrics: Metrics) -> None:
        """Have /metrics tell what is worth an alert, and the log what is worth a line."""
        if (certificate := self.certificate) is not None:
            metrics.certificate(lambda: certificate.newest.ends_at)
            certificate.tell(time.time())

    async def watch(self) -> None:
        """Until it is cancelled: what has changed is taken."""
        if self.certificate is not None:
            await self.certificate.watch()

    async def read_again(self) -> str:
        """What came of it, in words; none where there is nothing to read."""
        return "" if self.certificate is None else await self.certificate.read_again()

    def _note(self) -> ServerNote:
        text = "" if self.certificate is None else self.certificate.newest.text
        return ServerNote(Link(self._url(self.host), text))

    def _note_again(self, data_dir: Path) -> None:
        try:
            write_note(data_dir, self._note())
        except OSError as error:
            log.warning("commands on this machine expect the old certificate: %s", error)

    def _url(self, host: str) -> str:
        scheme = "http" if self.certificate is None else "https"
        port = self.listeners[0].socket.getsockname()[1]
        shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)
        return f"{scheme}://{f'[{shown}]' if ':' in shown and '[' not in shown else shown}:{port}"


@contextlib.contextmanager
def listening(settings: Settings) -> Iterator[Network]:
    """Bound at once, before anything is loaded. Raises CannotStart."""
    certificate = _certificate(settings)
    with listening_socket(settings.host, settings.port) as bound:
        tls = None if certificate is None else certificate.context
        yield Network(settings.host, (Listener(bound, tls),), certificate)


def _certificate(settings: Settings) -> "ServedCertificate | None":
    if settings.tls_cert is None and settings.tls_key is None:
        return None
    if settings.tls_cert is None:
        raise CannotStart("--tls-key needs the certificate that it is for: --tls-cert FILE.")
    if settings.tls_key is None:
        raise CannotStart("--tls-cert needs the certificate's private key: --tls-key FILE.")
    from server.http.certificate import ServedCertificate

    return ServedCertificate(settings.tls_cert, settings.tls_key)
