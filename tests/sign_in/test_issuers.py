"""Signing in with an OpenID Connect issuer: who a person then is."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from engines.registry.access import AccessEntry
from tests.support.admin_site import AdminSite, admin_site
from tests.support.fake_issuer import CLIENT, FakeIssuer
from tests.support.signing_in import RULES, came_back, members, visitor

pytestmark = pytest.mark.anyio


async def test_a_person_becomes_a_member_and_stays_the_same(
    staffed: AdminSite, issuer: FakeIssuer
) -> None:
    async with visitor(staffed) as browser:
        page = await browser.get("/console/sign-in")
        assert "Sign in with Staff" in page.text
        entered = await came_back(browser, issuer)
        assert (entered.status_code, entered.headers["location"]) == (303, "/console")
        assert "Ada Lovelace" in (await browser.get("/console/account")).text
    first = members(staffed)
    issuer.codes.add("good")
    issuer.claims |= {"groups": ["acme-leads"], "email": "ada@new.example"}
    async with visitor(staffed) as browser:
        assert (await came_back(browser, issuer)).status_code == 303
    assert [(m.name, m.owner, m.role, m.email) for m in first] == [
        ("Ada Lovelace", "acme", "member", "ada@acme.example")
    ]
    assert [(m.member_id, m.role, m.email) for m in members(staffed)] == [
        (first[0].member_id, "manager", "ada@new.example")
    ]


@pytest.mark.parametrize(
    ("claims", "role", "owner"),
    [
        ({"groups": ["x", "ops", "acme-devs"]}, "admin", None),
        ({"groups": "acme-leads"}, "manager", "acme"),
        ({"groups": [], "realm_access": {"roles": ["fjord-auditor"]}}, "auditor", None),
        ({"realm_access.roles": ["fjord-auditor"], "groups": None}, "auditor", None),
        ({"realm_access": "fjord-auditor", "groups": ["us-devs"]}, "member", "us"),
    ],
)
async def test_the_first_rule_that_fits_says_who_it_is(
    staffed: AdminSite, issuer: FakeIssuer, claims: dict[str, Any], role: str, owner: str | None
) -> None:
    issuer.claims |= claims
    async with visitor(staffed) as browser:
        assert (await came_back(browser, issuer)).status_code == 303
    assert [(m.role, m.owner) for m in members(staffed)] == [(role, owner)]


async def test_groups_may_be_told_apart_from_the_token(
    staffed: AdminSite, issuer: FakeIssuer
) -> None:
    issuer.claims = {}
    issuer.told = {"sub": "u-1", "name": "Bob", "groups": ["us-devs"], "iss": "nonsense"}
    async with visitor(staffed) as browser:
        assert (await came_back(browser, issuer)).status_code == 303
    assert [(m.name, m.owner) for m in members(staffed)] == [("Bob", "us")]


async def test_who_goes_over_to_another_owner_is_another_member(
    staffed: AdminSite, issuer: FakeIssuer
) -> None:
    async with visitor(staffed) as browser:
        await came_back(browser, issuer)
        issuer.codes.add("good")
        issuer.claims["groups"] = ["us-devs"]
        async with visitor(staffed) as later:
            assert (await came_back(later, issuer)).status_code == 303
        assert (await browser.get("/console")).status_code == 303
    assert {(m.owner, m.disabled_at is None) for m in members(staffed)} == {
        ("acme", False),
        ("us", True),
    }


async def test_who_goes_to_and_fro_is_let_in_each_time(
    staffed: AdminSite, issuer: FakeIssuer
) -> None:
    for group in ["us-devs", "acme-devs"] * 4:
        issuer.claims["groups"] = [group]
        issuer.codes.add("good")
        async with visitor(staffed) as browser:
            assert (await came_back(browser, issuer)).status_code == 303
    assert sum(member.disabled_at is None for member in members(staffed)) == 1


async def test_two_people_of_one_name_are_two_members(
    staffed: AdminSite, issuer: FakeIssuer
) -> None:
    for subject in ("u-1", "u-2", "u-3"):
        issuer.claims |= {"sub": subject, "email": None}
        issuer.told = {"sub": subject}
        issuer.codes.add("good")
        async with visitor(staffed) as browser:
            assert (await came_back(browser, issuer)).status_code == 303
    assert {m.name for m in members(staffed)} == {
        "Ada Lovelace",
        "Ada Lovelace (u-2)",
        "Ada Lovelace (u-3)",
    }


async def test_a_realm_of_keycloak_is_understood(tmp_path: Path, issuer: FakeIssuer) -> None:
    """As Keycloak 26 answers: a realm's own path, roles in realm_access, a session's state."""
    recorded = Path(__file__).parent / "keycloak"
    text = (recorded / "configuration.json").read_text().replace("URL", issuer.url)
    issuer.papers = json.loads(text)
    issuer.claims = json.loads((recorded / "id_token.json").read_text().replace("URL", issuer.url))
    for name in ("exp", "iat", "auth_time"):
        issuer.claims[name] = int(time.time()) + int(issuer.claims[name])
    del issuer.claims["nonce"]
    issuer.told = {"sub": issuer.claims["sub"], "email_verified": True, "name": "Kari Nordmann"}
    entry = {"name": "Staff", "issuer": f"{issuer.url}/realms/staff", "client_id": CLIENT}
    access = AccessEntry.model_validate({"issuers": [entry | {"rules": RULES}]})
    async with admin_site(tmp_path, access=access) as site, visitor(site) as browser:
        back = {"state": "", "iss": f"{issuer.url}/realms/staff", "session_state": "2d0a9a5e"}
        left = await browser.get("/console/sign-in/issuer", params={"name": "Staff"})
        back |= {"state": issuer.came(left.headers["location"])["state"], "code": "good"}
        assert (await browser.get("/console/callback", params=back)).status_code == 303
        assert [(m.name, m.role, m.email) for m in members(site)] == [
            ("Kari Nordmann", "auditor", "kari@staff.example")
        ]
