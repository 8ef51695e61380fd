"""An issuer's addresses and keys (OpenID Connect Discovery 1.0), kept for a while."""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import httpx

from engines.registry.access import LOOPBACK
from server.sign_in.bounded_http import TROUBLES, WHOLE_S, IssuerUnavailable, bounded_options

Papers: TypeAlias = Mapping[str, Any]
KEPT_S: Final = 3600.0
KEYS_AGAIN_S: Final = 60.0
"""Keys are asked for again for a signature by an unknown one, so often at most."""
FAILED_S: Final = 2.0
"""So long nobody asks again what has just failed: of a crowd that waits, one asks."""
_ENDPOINTS: Final = ("authorization_endpoint", "token_endpoint", "jwks_uri")


class IssuerPapers:
    """Of one issuer; belongs to one event loop."""

    def __init__(self, issuer: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._issuer = issuer
        self._clock = clock
        self._papers: Papers | None = None
        self._papers_at = 0.0
        self._keys: list[Mapping[str, Any]] = []
        self._keys_at = float("-inf")
        self._failed: dict[str, tuple[float, str]] = {}
        self._one_by_one = asyncio.Lock()

    async def papers(self) -> Papers:
        """Its configuration. Raises IssuerUnavailable."""
        async with self._one_by_one:
            if self._papers is None or self._clock() - self._papers_at > KEPT_S:
                url = f"{self._issuer.rstrip('/')}/.well-known/openid-configuration"
                self._papers = _checked(await self._asked(url), self._issuer)
                self._papers_at = self._clock()
            return self._papers

    async def keys(self, key_id: str | None) -> list[Mapping[str, Any]]:
        """Those that may have signed a token which names this one. Raises IssuerUnavailable."""
        uri = (await self.papers())["jwks_uri"]
        async with self._one_by_one:
            age = self._clock() - self._keys_at
            is_known = any(key_id in (None, key.get("kid")) for key in self._keys)
            if age > KEPT_S or (not is_known and age > KEYS_AGAIN_S):
                found = (await self._asked(uri)).get("keys")
                if not isinstance(found, list):
                    raise IssuerUnavailable("The issuer's keys are no list.")
                self._keys = [key for key in found[:50] if isinstance(key, dict)]
                self._keys_at = self._clock()
            return [key for key in self._keys if key_id in (None, key.get("kid"))]

    async def _asked(self, url: str) -> dict[str, Any]:
        """Raises IssuerUnavailable."""
        at, words = self._failed.get(url, (float("-inf"), ""))
        if self._clock() - at <= FAILED_S:
            raise IssuerUnavailable(words)
        try:
            return await asked(url)
        except IssuerUnavailable as away:
            self._failed[url] = (self._clock(), str(away))
            raise


async def asked(url: str, token: str | None = None) -> dict[str, Any]:
    """The JSON object there; `token`: as whom. Raises IssuerUnavailable."""
    headers = {"Accept": "application/json"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    try:
        async with asyncio.timeout(WHOLE_S), httpx.AsyncClient(**bounded_options()) as http:
            answer = await http.get(url, headers=headers)
            found = answer.raise_for_status().json()
    except TROUBLES as error:
        raise IssuerUnavailable("The issuer does not answer as it should.") from error
    if not isinstance(found, dict):
        raise IssuerUnavailable("The issuer's answer is no object.")
    return found


def _checked(papers: dict[str, Any], issuer: str) -> Papers:
    """An issuer that calls itself otherwise is another one. Raises IssuerUnavailable."""
    if papers.get("issuer") != issuer:
        raise IssuerUnavailable("The issuer calls itself otherwise than the registry does.")
    for name in _ENDPOINTS:
        if not is_safe(papers.get(name)):
            raise IssuerUnavailable(f"The issuer's {name} is no https address.")
    return papers


def is_safe(url: object) -> bool:
    """Over TLS, or on this machine."""
    try:
        parts = httpx.URL(url) if isinstance(url, str) else httpx.URL()
    except (httpx.InvalidURL, ValueError):
        return False
    return parts.host in LOOPBACK if parts.scheme == "http" else parts.scheme == "https"
