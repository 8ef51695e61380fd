"""What a server listens on, a port (plain or TLS) or a Unix socket, and how it is reached there."""

import contextlib
import logging
import shlex
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from server.cli.first_start import listening_socket
from server.cli.link import Link
from server.cli.server_note import NOTE_NAME, ServerNote, write_note
from server.cli.trouble import told
from server.cli.unix_socket import unix_socket
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
    """All of one server's. It listens on a port, a Unix socket, or both."""

    host: str
    port: Listener | None
    uds: Listener | None
    ops: Listener | None
    ops_host: str
    certificate: "ServedCertificate | None"
    """The ports'."""

    @property
    def listeners(self) -> list[Listener]:
        return [each for each in (self.port, self.uds, self.ops) if each is not None]

    @property
    def is_exposed(self) -> bool:
        """Other machines reach the server."""
        return self.port is not None and not is_loopback(self.host)

    @property
    def url(self) -> str:
        """For people: in TLS by a name that the certificate is for."""
        ways = [] if self.port is None else [self._url(self.port, self._name())]
        return " and ".join(ways + ([] if self.uds is None else [f"unix:{_path(self.uds)}"]))

    @property
    def page_url(self) -> str:
        """For a browser; on a Unix socket alone whatever stands before it."""
        return "http://localhost" if self.port is None else self._url(self.port, self._name())

    @property
    def join_url(self) -> str:
        """For other machines: where it listens at every address, by this machine's name."""
        if self.port is not None and self.host in ("0.0.0.0", "::"):
            return self._url(self.port, self._name_of_all())
        return self.page_url

    @property
    def ops_url(self) -> str | None:
        """For people; None where it is the same."""
        return None if self.ops is None else self._url(self.ops, self.ops_host)

    @property
    def curl(self) -> str:
        """What a command line begins with that asks the server."""
        if self.port is not None:
            return f"curl {self._url(self.port, self._name())}"
        link = self._link()
        return f"curl --unix-socket {shlex.quote(link.uds or '')} {link.url}"

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
        ops = None if self.ops is None else self._port_link(self.ops, self.ops_host)
        return ServerNote(self._link(), ops)

    def _link(self) -> Link:
        if self.port is not None:
            return self._port_link(self.port, self.host)
        assert self.uds is not None
        return Link("http://localhost", _path(self.uds))

    def _port_link(self, listener: Listener, host: str) -> Link:
        text = "" if self.certificate is None else self.certificate.newest.text
        return Link(self._url(listener, host), certificate=text)

    def _note_again(self, data_dir: Path) -> None:
        try:
            write_note(data_dir, self._note())
        except OSError as error:
            log.warning("commands on this machine expect the old certificate: %s", error)

    def _name_of_all(self) -> str:
        name = self._name()
        return socket.gethostname() if name == self.host else name

    def _name(self) -> str:
        name = None if self.certificate is None else self.certificate.newest.name
        return name or self.host

    def _url(self, listener: Listener, host: str) -> str:
        scheme = "http" if self.certificate is None else "https"
        port = listener.socket.getsockname()[1]
        shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)
        return f"{scheme}://{f'[{shown}]' if ':' in shown and '[' not in shown else shown}:{port}"


def _path(uds: Listener) -> str:
    return str(Path(uds.socket.getsockname()).absolute())


@contextlib.contextmanager
def listening(settings: Settings) -> Iterator[Network]:
    """Bound at once, before anything is loaded. Raises CannotStart."""
    certificate = _certificate(settings)
    tls = None if certificate is None else certificate.context
    port = uds = ops = None
    with contextlib.ExitStack() as stack:
        if settings.has_port:
            bound = stack.enter_context(listening_socket(settings.host, settings.port))
            port = Listener(bound, tls)
        if settings.uds is not None:
            mode = int(settings.uds_mode, 8)
            uds = Listener(stack.enter_context(unix_socket(settings.uds, mode)))
        if settings.ops_port is not None:
            bound = listening_socket(settings.ops_host, settings.ops_port, "--ops-")
            ops = Listener(stack.enter_context(bound), tls, is_ops=True)
        yield Network(settings.host, port, uds, ops, settings.ops_host, certificate)


def check_flags(settings: Settings) -> tuple[Path, Path] | None:
    """The certificate's file and its key's, where TLS is asked for. Raises CannotStart for flags
    that need another one."""
    if settings.ops_port is None and "ops_host" in settings.model_fields_set:
        raise CannotStart("--ops-host is the address of a port: give --ops-port, too.")
    if settings.tls_cert is None and settings.tls_key is None:
        return None
    if settings.tls_cert is None:
        raise CannotStart("--tls-key needs the certificate that it is for: --tls-cert FILE.")
    if settings.tls_key is None:
        raise CannotStart("--tls-cert needs the certificate's private key: --tls-key FILE.")
    if not settings.has_port and settings.ops_port is None:
        raise CannotStart("--tls-cert is for a port, and --uds alone has none: give --port, too.")
    return settings.tls_cert, settings.tls_key


def _certificate(settings: Settings) -> "ServedCertificate | None":
    files = check_flags(settings)
    if files is None:
        return None
    from server.http.certificate import ServedCertificate

    return ServedCertificate(*files)
