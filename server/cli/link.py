"""One way to a server: its URL, and where that is not enough, its certificate."""

import ssl
from dataclasses import dataclass
from typing import Any

import httpx


@dataclass(frozen=True, slots=True)
class Link:
    """A client's way to a server."""

    url: str
    """Without a path, without a slash at its end."""
    certificate: str = ""
    """PEM: the one that the server shows, whatever name it is for. Empty: one that is for the
    URL's name, of somebody whom this machine trusts."""

    @classmethod
    def to(cls, server: "Link | str") -> "Link":
        if isinstance(server, Link):
            return server
        return cls(server.rstrip("/").removesuffix("/v1"))

    def __str__(self) -> str:
        return self.url

    def client(self, **options: Any) -> httpx.Client:
        """`options`: httpx.Client's own."""
        return httpx.Client(base_url=self.url, **self.verification(), **options)

    def verification(self) -> dict[str, Any]:
        """httpx' own options."""
        return {"verify": self._pinned()} if self.certificate else {}

    def _pinned(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.load_verify_locations(cadata=self.certificate)
        return context
