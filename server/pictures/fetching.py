"""Pictures from elsewhere: from hosts of a list alone, at the address that was looked at, without
redirects and proxies, bounded in time and size."""

import asyncio
import ipaddress
import logging
import socket
import ssl
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

import httpcore
import httpx

from engines.pictures.bounds import EXPECTED, MOST_BYTES
from server.pictures.given import DATA_URL

MOST_URL = 2048
MOST_S = 20.0
"""Of one picture, from the look-up of its host's name to its last byte."""
_AT_ONCE = 8
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_PORTS = {"http": 80, "https": 443}
_HEADERS = {"Accept": "image/*", "Accept-Encoding": "identity", "User-Agent": "fjord"}

log = logging.getLogger("fjord.pictures")


class FetchRefused(Exception):
    """The message goes on from "the picture": "comes from a host that …"."""

    def __init__(self, message: str, expected: str = DATA_URL) -> None:
        super().__init__(message)
        self.expected = expected


class PictureFetcher:
    """One server's. `hosts`: `name` (at the scheme's own port) or `name:port` each."""

    def __init__(self, hosts: Sequence[str] = (), *, is_offline: bool = False) -> None:
        self._hosts = frozenset(host.lower() for host in hosts)
        self._is_offline = is_offline
        self._seats = asyncio.Semaphore(_AT_ONCE)

    async def __call__(self, address: str) -> bytes:
        """The file. Raises FetchRefused."""
        url = self._allowed(address)
        try:
            async with self._seats, asyncio.timeout(MOST_S):
                return await _fetched(url)
        except TimeoutError:
            raise FetchRefused(f"did not come within {MOST_S:g} s") from None
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException) as error:
            log.info("a picture from %s could not be fetched: %r", url.host, error)
            raise FetchRefused("could not be fetched from its host") from None

    def _allowed(self, address: str) -> httpx.URL:
        if self._is_offline or not self._hosts:
            raise FetchRefused(f"is at an address, and none is fetched here; right is {DATA_URL}")
        url = _url_of(address)
        port = url.port or _PORTS[url.scheme]
        names = {f"{url.netloc.decode().lower().removesuffix(f':{port}')}:{port}"}
        if port == _PORTS[url.scheme]:
            names.add(url.netloc.decode().lower())
        if not names & self._hosts:
            raise FetchRefused("is at a host that pictures are not fetched from here")
        return url


def _url_of(address: str) -> httpx.URL:
    if len(address) > MOST_URL:
        raise FetchRefused(f"has an address of more than {MOST_URL} characters")
    try:
        url = httpx.URL(address)
    except (httpx.InvalidURL, ValueError):
        raise FetchRefused("has an address that is no URL") from None
    if url.scheme not in _PORTS or not url.host or url.userinfo:
        raise FetchRefused("has an address that is no http(s) URL without a user's name")
    return url


async def _fetched(url: httpx.URL) -> bytes:
    context = await asyncio.to_thread(_tls) if url.scheme == "https" else None
    pool = httpcore.AsyncConnectionPool(ssl_context=context, network_backend=_PublicAddresses())
    async with pool, pool.stream("GET", str(url), headers=list(_HEADERS.items())) as answer:
        _check_answer(answer.status, dict(answer.headers))
        data = bytearray()
        async for piece in answer.aiter_stream():
            data += piece
            if len(data) > MOST_BYTES:
                raise _too_large()
        return bytes(data)


@cache
def _tls() -> ssl.SSLContext:
    return httpx.create_ssl_context()


def _check_answer(status: int, headers: dict[bytes, bytes]) -> None:
    named = {name.lower(): value.lower().strip() for name, value in headers.items()}
    if 300 <= status < 400:
        raise FetchRefused("is said to be at another address, and redirects are not followed")
    if status != 200:
        raise FetchRefused(f"got the status {status} from its host")
    if not named.get(b"content-type", b"").startswith(b"image/"):
        raise FetchRefused(f"is no image by its Content-Type; right would be {EXPECTED}", EXPECTED)
    if named.get(b"content-encoding", b"identity") != b"identity":
        raise FetchRefused("came compressed though it was asked for as it is")
    length = named.get(b"content-length", b"0")
    if length.isdigit() and int(length) > MOST_BYTES:
        raise _too_large()


def _too_large() -> FetchRefused:
    right = f"at most {MOST_BYTES} bytes"
    return FetchRefused(f"is too large; right would be {right}", right)


class _PublicAddresses(httpcore.AsyncNetworkBackend):
    """A name is looked up once, and the connection made to what was found and allowed."""

    def __init__(self) -> None:
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        address = await _address_of(host, port)
        return await self._network.connect_tcp(
            address, port, timeout, local_address, socket_options
        )

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


async def _address_of(host: str, port: int) -> str:
    """A host that is given by its number is that, wherever it is: the list names it. A name's
    addresses must all be public."""
    if _number(host) is not None:
        return host
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise FetchRefused("is at a host whose name is not known") from None
    addresses = [str(each[4][0]) for each in found]
    if not addresses or not all(map(_is_public, addresses)):
        raise FetchRefused("is at a host whose address is not public")
    return addresses[0]


def _number(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None


def _is_public(address: str) -> bool:
    number = _number(address.partition("%")[0])
    if isinstance(number, ipaddress.IPv6Address):
        if number.sixtofour is not None or number.teredo is not None:
            return False
        if number in _NAT64:
            return False
        number = number.ipv4_mapped or number
    if number is None or number.is_multicast or number.is_reserved:
        return False
    return number.is_global
