"""What an issuer says, or a browser brings back, that proves nothing: nobody comes in."""

import base64
import json
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from joserfc import jwk

from server.accounts.tenant_wire import MemberPatch, OwnerPatch
from server.ledger.member_store import MemberStore
from server.ledger.owner_store import OwnerStore
from tests.support.admin_site import AdminSite
from tests.support.fake_issuer import CLIENT, FakeIssuer
from tests.support.signing_in import came_back, members, visitor

pytestmark = pytest.mark.anyio


def forged(claims: dict[str, Any], header: dict[str, Any]) -> str:
    parts = [json.dumps(part).encode() for part in (header, claims)] + [b""]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def unsigned(issuer: FakeIssuer) -> None:
    now = int(time.time())
    claims = {"iss": issuer.url, "aud": CLIENT, "sub": "u-1", "iat": now, "exp": now + 300}
    issuer.id_token = forged(claims, {"alg": "none"})


def symmetric(issuer: FakeIssuer) -> None:
    issuer.header, issuer.key = {"alg": "HS256"}, jwk.OctKey.generate_key(256)
    issuer.published = []


def strangers_key(issuer: FakeIssuer) -> None:
    issuer.published = [issuer.key]
    issuer.key = jwk.RSAKey.generate_key(2048, {"kid": "one"})


def says(**claims: Any) -> Callable[[FakeIssuer], None]:
    return lambda issuer: issuer.claims.update(claims)


NOW = int(time.time())


@pytest.mark.parametrize(
    "break_it",
    [
        says(iss="https://evil.example"),
        says(aud="another"),
        says(aud=[CLIENT, "another"]),
        says(aud=[CLIENT], azp="another"),
        says(aud=None),
        says(exp=NOW - 3600),
        says(exp=None),
        says(exp="soon"),
        says(iat=NOW - 3600),
        says(iat=NOW + 3600),
        says(nbf=NOW + 3600),
        says(nonce="another"),
        says(nonce=None),
        says(sub=""),
        says(sub=7),
        says(sub="   ", name=None, email=None),
        lambda issuer: setattr(issuer, "id_token", "W1tb" * 10_000 + ".b.c"),  # [[[
        says(sub="x" * 256),
        lambda issuer: issuer.told.update(sub="somebody else"),
        unsigned,
        symmetric,
        strangers_key,
        lambda issuer: setattr(issuer, "id_token", "a.b"),
        lambda issuer: setattr(issuer, "id_token", "a.b.c"),
        lambda issuer: setattr(issuer, "codes", set()),
        says(groups=["nobody"]),
        says(groups=["ghosts"]),
    ],
)
async def test_nobody_comes_in_by_what_proves_nothing(
    staffed: AdminSite, issuer: FakeIssuer, break_it: Callable[[FakeIssuer], None]
) -> None:
    break_it(issuer)
    async with visitor(staffed) as browser:
        refused = await came_back(browser, issuer)
        assert refused.status_code == 403
        assert "You are not signed in" in refused.text
        assert (await browser.get("/console")).status_code == 303
    assert members(staffed) == []


async def test_a_way_back_that_nobody_began_leads_nowhere(
    staffed: AdminSite, issuer: FakeIssuer
) -> None:
    async with visitor(staffed) as browser, visitor(staffed) as other:
        assert (await came_back(browser, issuer, state="another")).status_code == 403
        await other.get("/console/sign-in/issuer", params={"name": "Staff"})
        flow = other.cookies["fjord_flow"]
        browser.cookies.set("fjord_flow", flow + "x", path="/console")
        back = {"code": "good", "state": ""}
        assert (await browser.get("/console/callback", params=back)).status_code == 403
        assert (await browser.get("/console/callback")).status_code == 403
    async with visitor(staffed) as browser:
        first = await came_back(browser, issuer)
        assert first.status_code == 303
        again = await browser.get("/console/callback", params={"code": "good", "state": "x"})
        assert again.status_code == 403
    assert issuer.answer("/token", {"code": "good"})[0] == 400


@pytest.mark.parametrize("gone", ["member", "owner"])
async def test_who_is_out_stays_out(staffed: AdminSite, issuer: FakeIssuer, gone: str) -> None:
    async with visitor(staffed) as browser:
        await came_back(browser, issuer)
    with closing(staffed.ledger.open_books()) as books:
        if gone == "member":
            found = MemberStore(books).list()[0].member_id
            MemberStore(books).update(found, MemberPatch(disabled=True).apply)
        else:
            OwnerStore(books).update("acme", OwnerPatch(archived=True).apply)
    issuer.codes.add("good")
    async with visitor(staffed) as browser:
        assert (await came_back(browser, issuer)).status_code == 403


async def test_elsewhere_than_on_this_machine_the_way_back_must_be_known(
    staffed: AdminSite,
) -> None:
    async with visitor(staffed) as browser:
        headers = {"host": "evil.example"}
        params = {"name": "Staff"}
        page = await browser.get("/console/sign-in/issuer", params=params, headers=headers)
        assert page.status_code == 404
        assert "--console-url" in page.text
