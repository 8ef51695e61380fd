"""One way to a server: its URL, and where that is not enough, its socket or its certificate."""

import re
import ssl
from dataclasses import dataclass
from typing import Any

import httpx

_NO_CHECK_TIME = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME, for which `ssl` has no name: one that has ended is still the same."""


@dataclass(frozen=True, slots=True)
class Link:
    """A client's way to a server."""

    url: str
    """Without a path, without a slash at its end."""
    uds: str | None = None
    """The path of its Unix socket; the URL's host is a name then, and no address."""
    certificate: str = ""
    """PEM: the one that the server shows, whatever name it is for. Empty: one that is for the
    URL's name, of somebody whom this machine trusts."""

    @classmethod
    def to(cls, server: "Link | str") -> "Link":
        if isinstance(server, Link):
            return server
        if server.startswith("unix:"):
            return cls("http://localhost", re.sub("^//+", "/", server.removeprefix("unix:")))
        return cls(server.rstrip("/").removesuffix("/v1"))

    def __str__(self) -> str:
        """As a person names it."""
        return self.url if self.uds is None else f"unix:{self.uds}"

    def client(self, **options: Any) -> httpx.Client:
        """`options`: httpx.Client's own."""
        return httpx.Client(base_url=self.url, **self._options(), **options)

    def _options(self) -> dict[str, Any]:
        if self.uds is not None:
            return {"transport": httpx.HTTPTransport(uds=self.uds)}
        return {"verify": self.trusted()} if self.certificate else {}

    def trusted(self) -> ssl.SSLContext:
        """What its certificate is compared with."""
        if not self.certificate:
            return httpx.create_ssl_context()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | _NO_CHECK_TIME
        context.load_verify_locations(cadata=self.certificate)
        return context
