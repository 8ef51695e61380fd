"""Signing in with an OpenID Connect issuer, and every way in which it must not work."""

import asyncio
import base64
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from joserfc import jwk

from engines.registry.access import AccessEntry
from server.accounts.tenant_wire import MemberPatch, OwnerPatch
from server.ledger.member_store import MemberStore
from server.ledger.owner_store import OwnerStore
from server.ledger.tenants import MemberLevel
from server.sign_in import bounded_http, discovery
from server.sign_in.issuers import Issuers
from tests.support.admin_site import AdminSite, admin_site
from tests.support.fake_issuer import CLIENT, FakeIssuer, fake_issuer
from tests.support.signing_in import visitor

pytestmark = pytest.mark.anyio
RULES = [
    {"claim": "groups", "has": "ops", "role": "admin"},
    {"claim": "realm_access.roles", "has": "fjord-auditor", "role": "auditor"},
    {"claim": "groups", "has": "acme-leads", "role": "manager", "owner": "acme"},
    {"claim": "groups", "has": "acme-devs", "role": "member", "owner": "acme"},
    {"claim": "groups", "has": "us-devs", "role": "member", "owner": "us"},
    {"claim": "groups", "has": "ghosts", "role": "member", "owner": "nowhere"},
]


@pytest.fixture
def issuer() -> Iterator[FakeIssuer]:
    with fake_issuer() as found:
        found.claims = {"name": "Ada Lovelace", "email": "ada@acme.example"}
        found.claims |= {"groups": ["acme-devs"]}
        yield found


@pytest.fixture
async def site(tmp_path: Path, issuer: FakeIssuer) -> AsyncIterator[AdminSite]:
    entry = {"name": "Staff", "issuer": issuer.url, "client_id": CLIENT, "rules": RULES}
    access = AccessEntry.model_validate({"issuers": [entry]})
    async with admin_site(tmp_path, access=access) as found:
        yield found


async def came_back(
    browser: httpx.AsyncClient, issuer: FakeIssuer, code: str = "good", **changed: str
) -> httpx.Response:
    left = await browser.get("/console/sign-in/issuer", params={"name": "Staff"})
    assert left.status_code == 303, left.text
    query = issuer.came(left.headers["location"])
    assert query["redirect_uri"] == "http://localhost/console/callback"
    back = {"code": code, "state": query["state"]} | changed
    return await browser.get("/console/callback", params=back)


def members(site: AdminSite) -> list[MemberLevel]:
    with closing(site.ledger.open_books()) as books:
        return MemberStore(books).list()


async def test_a_person_becomes_a_member_and_stays_the_same(
    site: AdminSite, issuer: FakeIssuer
) -> None:
    async with visitor(site) as browser:
        page = await browser.get("/console/sign-in")
        assert "Sign in with Staff" in page.text
        entered = await came_back(browser, issuer)
        assert (entered.status_code, entered.headers["location"]) == (303, "/console")
        assert "Ada Lovelace" in (await browser.get("/console/account")).text
    first = members(site)
    issuer.codes.add("good")
    issuer.claims |= {"groups": ["acme-leads"], "email": "ada@new.example"}
    async with visitor(site) as browser:
        assert (await came_back(browser, issuer)).status_code == 303
    assert [(m.name, m.owner, m.role, m.email) for m in first] == [
        ("Ada Lovelace", "acme", "member", "ada@acme.example")
    ]
    assert [(m.member_id, m.role, m.email) for m in members(site)] == [
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
    site: AdminSite, issuer: FakeIssuer, claims: dict[str, Any], role: str, owner: str | None
) -> None:
    issuer.claims |= claims
    async with visitor(site) as browser:
        assert (await came_back(browser, issuer)).status_code == 303
    assert [(m.role, m.owner) for m in members(site)] == [(role, owner)]


async def test_groups_may_be_told_apart_from_the_token(site: AdminSite, issuer: FakeIssuer) -> None:
    issuer.claims = {}
    issuer.told = {"sub": "u-1", "name": "Bob", "groups": ["us-devs"], "iss": "nonsense"}
    async with visitor(site) as browser:
        assert (await came_back(browser, issuer)).status_code == 303
    assert [(m.name, m.owner) for m in members(site)] == [("Bob", "us")]


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
    site: AdminSite, issuer: FakeIssuer, break_it: Callable[[FakeIssuer], None]
) -> None:
    break_it(issuer)
    async with visitor(site) as browser:
        refused = await came_back(browser, issuer)
        assert refused.status_code == 403
        assert "You are not signed in" in refused.text
        assert (await browser.get("/console")).status_code == 303
    assert members(site) == []


async def test_a_way_back_that_nobody_began_leads_nowhere(
    site: AdminSite, issuer: FakeIssuer
) -> None:
    async with visitor(site) as browser, visitor(site) as other:
        assert (await came_back(browser, issuer, state="another")).status_code == 403
        await other.get("/console/sign-in/issuer", params={"name": "Staff"})
        flow = other.cookies["fjord_flow"]
        browser.cookies.set("fjord_flow", flow + "x", path="/console")
        back = {"code": "good", "state": ""}
        assert (await browser.get("/console/callback", params=back)).status_code == 403
        assert (await browser.get("/console/callback")).status_code == 403
    async with visitor(site) as browser:
        first = await came_back(browser, issuer)
        assert first.status_code == 303
        again = await browser.get("/console/callback", params={"code": "good", "state": "x"})
        assert again.status_code == 403
    assert issuer.answer("/token", {"code": "good"})[0] == 400


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/.well-known/openid-configuration", (500, {})),
        ("/.well-known/openid-configuration", (200, b"[]")),
        ("/.well-known/openid-configuration", (200, b"no JSON")),
        ("/.well-known/openid-configuration", (302, {})),
        ("/.well-known/openid-configuration", (200, b" " * 300_000)),
        ("/.well-known/openid-configuration", (200, b"[" * 100_000 + b"]" * 100_000)),
    ],
)
async def test_an_issuer_that_is_not_well_is_told_so(
    site: AdminSite, issuer: FakeIssuer, path: str, answer: tuple[int, Any]
) -> None:
    issuer.answers[path] = answer
    async with visitor(site) as browser:
        page = await browser.get("/console/sign-in/issuer", params={"name": "Staff"})
        assert page.status_code == 502
        assert "Try again, or sign in with a password" in page.text


@pytest.mark.parametrize(
    "papers",
    [
        {"issuer": "https://another.example"},
        {"token_endpoint": "http://192.0.2.1/token"},
        {"jwks_uri": None},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"authorization_endpoint": "https://a.example/\r\nSet-Cookie: a=b"},
        {"token_endpoint": "https://[::1"},
        {"token_endpoint": "https://a\0b/"},
        {"jwks_uri": "https://\u2024\u2024/"},
    ],
)
async def test_an_issuer_with_odd_papers_is_none(
    site: AdminSite, issuer: FakeIssuer, papers: dict[str, Any]
) -> None:
    issuer.papers = papers
    async with visitor(site) as browser:
        page = await browser.get("/console/sign-in/issuer", params={"name": "Staff"})
        assert page.status_code == 502


async def test_an_issuer_that_hangs_costs_a_bounded_wait(
    site: AdminSite, issuer: FakeIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded_http, "WAIT_S", 0.2)
    monkeypatch.setattr(discovery, "WHOLE_S", 0.2)
    is_over = threading.Event()

    def hang() -> tuple[int, Any]:
        is_over.wait(30)
        return 200, {}

    issuer.answers["/.well-known/openid-configuration"] = hang
    async with visitor(site) as browser:
        page = await browser.get("/console/sign-in/issuer", params={"name": "Staff"})
        is_over.set()
        assert page.status_code == 502


async def test_a_crowd_waits_for_an_issuer_that_hangs_no_longer_than_one(
    site: AdminSite, issuer: FakeIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discovery, "WHOLE_S", 0.5)
    is_over = threading.Event()

    def hang() -> tuple[int, Any]:
        is_over.wait(30)
        return 200, {}

    issuer.answers["/.well-known/openid-configuration"] = hang
    async with visitor(site) as browser:
        path = "/console/sign-in/issuer?name=Staff"
        pages = await asyncio.gather(*(browser.get(path) for _ in range(20)))
        is_over.set()
        assert {page.status_code for page in pages} == {502}
    assert len(issuer.asked) == 1


@pytest.mark.parametrize("path", ["/token", "/keys", "/userinfo"])
async def test_an_answer_that_nobody_can_read_is_told_on_the_way_back(
    site: AdminSite, issuer: FakeIssuer, path: str
) -> None:
    issuer.answers[path] = (200, b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}")
    async with visitor(site) as browser:
        assert (await came_back(browser, issuer)).status_code == 502


@pytest.mark.parametrize(
    "odd",
    [
        {"token_endpoint_auth_methods_supported": 5},
        {"userinfo_endpoint": "https://[::1"},
        {"userinfo_endpoint": 5},
    ],
)
async def test_papers_that_say_less_than_they_could_are_enough(
    tmp_path: Path, issuer: FakeIssuer, odd: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAFF_SECRET", "s")
    issuer.papers = odd
    entry = {"name": "Staff", "issuer": issuer.url, "client_id": CLIENT, "rules": RULES}
    entry |= {"client_secret_env": "STAFF_SECRET"}
    access = AccessEntry.model_validate({"issuers": [entry]})
    async with admin_site(tmp_path, access=access) as site, visitor(site) as browser:
        assert (await came_back(browser, issuer)).status_code == 303


@pytest.mark.parametrize("value", [None, ""])
def test_a_secret_that_is_not_set_is_told(
    value: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    entry = {"name": "Staff", "issuer": "https://a.example", "client_id": CLIENT, "rules": RULES}
    entry |= {"client_secret_env": "STAFF_SECRET"}
    access = AccessEntry.model_validate({"issuers": [entry]})
    environment = {} if value is None else {"STAFF_SECRET": value}
    assert Issuers(lambda: access, environment=environment).flow("Staff") is not None
    assert "STAFF_SECRET is not set" in caplog.text


async def test_new_keys_of_an_issuer_are_asked_for_once(
    site: AdminSite, issuer: FakeIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discovery, "KEYS_AGAIN_S", 0.0)
    async with visitor(site) as browser:
        assert (await came_back(browser, issuer)).status_code == 303
    issuer.key, issuer.header = jwk.RSAKey.generate_key(2048, {"kid": "two"}), {"kid": "two"}
    issuer.codes.add("good")
    async with visitor(site) as browser:
        assert (await came_back(browser, issuer)).status_code == 303
    assert [path for path, _ in issuer.asked].count("/keys") == 2


async def test_who_goes_over_to_another_owner_is_another_member(
    site: AdminSite, issuer: FakeIssuer
) -> None:
    async with visitor(site) as browser:
        await came_back(browser, issuer)
        issuer.codes.add("good")
        issuer.claims["groups"] = ["us-devs"]
        async with visitor(site) as later:
            assert (await came_back(later, issuer)).status_code == 303
        assert (await browser.get("/console")).status_code == 303
    assert {(m.owner, m.disabled_at is None) for m in members(site)} == {
        ("acme", False),
        ("us", True),
    }


async def test_who_goes_to_and_fro_is_let_in_each_time(site: AdminSite, issuer: FakeIssuer) -> None:
    for group in ["us-devs", "acme-devs"] * 4:
        issuer.claims["groups"] = [group]
        issuer.codes.add("good")
        async with visitor(site) as browser:
            assert (await came_back(browser, issuer)).status_code == 303
    assert sum(member.disabled_at is None for member in members(site)) == 1


@pytest.mark.parametrize("gone", ["member", "owner"])
async def test_who_is_out_stays_out(site: AdminSite, issuer: FakeIssuer, gone: str) -> None:
    async with visitor(site) as browser:
        await came_back(browser, issuer)
    with closing(site.ledger.open_books()) as books:
        if gone == "member":
            found = MemberStore(books).list()[0].member_id
            MemberStore(books).update(found, MemberPatch(disabled=True).apply)
        else:
            OwnerStore(books).update("acme", OwnerPatch(archived=True).apply)
    issuer.codes.add("good")
    async with visitor(site) as browser:
        assert (await came_back(browser, issuer)).status_code == 403


async def test_two_people_of_one_name_are_two_members(site: AdminSite, issuer: FakeIssuer) -> None:
    for subject in ("u-1", "u-2", "u-3"):
        issuer.claims |= {"sub": subject, "email": None}
        issuer.told = {"sub": subject}
        issuer.codes.add("good")
        async with visitor(site) as browser:
            assert (await came_back(browser, issuer)).status_code == 303
    assert {m.name for m in members(site)} == {
        "Ada Lovelace",
        "Ada Lovelace (u-2)",
        "Ada Lovelace (u-3)",
    }


async def test_elsewhere_than_on_this_machine_the_way_back_must_be_known(site: AdminSite) -> None:
    async with visitor(site) as browser:
        headers = {"host": "evil.example"}
        params = {"name": "Staff"}
        page = await browser.get("/console/sign-in/issuer", params=params, headers=headers)
        assert page.status_code == 404
        assert "--console-url" in page.text


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
