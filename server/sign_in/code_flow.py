"""The way to an issuer and back: authorization code with PKCE, state and nonce."""

import asyncio
import secrets
from collections.abc import Mapping
from typing import Any, Final

import httpx
from authlib.integrations.base_client import OAuthError
from authlib.integrations.httpx_client import AsyncOAuth2Client

from engines.registry.access import IssuerEntry
from server.sign_in.bounded_http import WHOLE_S, IssuerUnavailable, bounded_options
from server.sign_in.discovery import IssuerPapers, Papers, asked, is_safe
from server.sign_in.id_tokens import IdentityRefused, check_claims, claims_of, key_id_of

MOST_CODE: Final = 4096


class CodeFlow:
    """Of one issuer and one client of it."""

    def __init__(self, entry: IssuerEntry, secret: str | None) -> None:
        self.entry = entry
        self._secret = secret
        self._papers = IssuerPapers(entry.issuer)

    async def begin(self, redirect_uri: str) -> tuple[str, dict[str, str]]:
        """Where the browser goes, and what must be remembered till it is back. Raises
        IssuerUnavailable."""
        papers = await self._papers.papers()
        state, nonce = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
        flow = {"state": state, "nonce": nonce, "verifier": secrets.token_urlsafe(48)}
        flow |= {"issuer": self.entry.name, "redirect_uri": redirect_uri}
        async with self._client(papers, redirect_uri) as client:
            url, _ = client.create_authorization_url(
                papers["authorization_endpoint"],
                state=state,
                nonce=nonce,
                code_verifier=flow["verifier"],
            )
        return str(url), flow

    async def end(self, code: str, flow: Mapping[str, str]) -> dict[str, Any]:
        """What the issuer says of who is back with `code`. Raises IssuerUnavailable,
        IdentityRefused."""
        papers = await self._papers.papers()
        token = await self._token(papers, code, flow)
        id_token = token.get("id_token")
        keys = await self._papers.keys(key_id_of(id_token))
        claims = claims_of(str(id_token), keys)
        entry = self.entry
        check_claims(claims, issuer=entry.issuer, client_id=entry.client_id, nonce=flow["nonce"])
        return await self._told(papers, token, claims)

    async def _token(self, papers: Papers, code: str, flow: Mapping[str, str]) -> dict[str, Any]:
        try:
            async with (
                asyncio.timeout(WHOLE_S),
                self._client(papers, flow["redirect_uri"]) as client,
            ):
                token = await client.fetch_token(
                    papers["token_endpoint"],
                    code=code[:MOST_CODE],
                    code_verifier=flow["verifier"],
                    grant_type="authorization_code",
                )
        except OAuthError as error:
            raise IdentityRefused("The issuer does not know this sign-in (any more).") from error
        except (httpx.HTTPError, TimeoutError, ValueError, OSError) as error:
            raise IssuerUnavailable("The issuer does not answer as it should.") from error
        return dict(token)

    async def _told(
        self, papers: Papers, token: Mapping[str, Any], claims: dict[str, Any]
    ) -> dict[str, Any]:
        """Many issuers say names and groups apart from the ID token, whose claims count first."""
        endpoint, access = papers.get("userinfo_endpoint"), token.get("access_token")
        if not is_safe(endpoint) or not isinstance(access, str):
            return claims
        told = await asked(str(endpoint), access)
        if told.get("sub") != claims["sub"]:
            raise IdentityRefused("The issuer speaks of two persons.")
        return told | claims

    def _client(self, papers: Papers, redirect_uri: str) -> Any:
        return AsyncOAuth2Client(
            client_id=self.entry.client_id,
            client_secret=self._secret,
            scope=" ".join(self.entry.scopes),
            redirect_uri=redirect_uri,
            code_challenge_method="S256",
            token_endpoint_auth_method=self._method(papers),
            **bounded_options(),
        )

    def _method(self, papers: Papers) -> str:
        if self._secret is None:
            return "none"
        known = papers.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        return "client_secret_basic" if "client_secret_basic" in known else "client_secret_post"
