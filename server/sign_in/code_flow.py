"""The way to an issuer and back: authorization code with PKCE, state and nonce."""

import asyncio
import base64
import secrets
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

import httpx
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge

from engines.registry.access import IssuerEntry
from server.sign_in.bounded_http import TROUBLES, WHOLE_S, IssuerUnavailable, bounded_options
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
        url = prepare_grant_uri(
            papers["authorization_endpoint"],
            self.entry.client_id,
            "code",
            redirect_uri=redirect_uri,
            scope=" ".join(self.entry.scopes),
            state=state,
            nonce=nonce,
            code_challenge=create_s256_code_challenge(flow["verifier"]),
            code_challenge_method="S256",
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
        form = {"grant_type": "authorization_code", "code": code[:MOST_CODE]}
        form |= {"redirect_uri": flow["redirect_uri"], "code_verifier": flow["verifier"]}
        try:
            async with asyncio.timeout(WHOLE_S), httpx.AsyncClient(**bounded_options()) as http:
                headers = self._proof(papers, form)
                answer = await http.post(papers["token_endpoint"], data=form, headers=headers)
                token = answer.json()
        except TROUBLES as error:
            raise IssuerUnavailable("The issuer does not answer as it should.") from error
        if 400 <= answer.status_code < 500:
            raise IdentityRefused("The issuer does not know this sign-in (any more).")
        if not answer.is_success or not isinstance(token, dict):
            raise IssuerUnavailable("The issuer does not answer as it should.")
        return token

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

    def _proof(self, papers: Papers, form: dict[str, str]) -> dict[str, str]:
        """That it is we who ask: in the headers, or put into the form (RFC 6749, 2.3.1)."""
        client_id, secret = self.entry.client_id, self._secret
        known = papers.get("token_endpoint_auth_methods_supported")
        if not isinstance(known, list) or not known:
            known = ["client_secret_basic"]
        if secret is not None and "client_secret_basic" in known:
            pair = f"{quote(client_id, safe='')}:{quote(secret, safe='')}"
            return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
        form["client_id"] = client_id
        if secret is not None:
            form["client_secret"] = secret
        return {}
