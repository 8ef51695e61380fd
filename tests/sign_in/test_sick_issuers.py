"""Issuers that hang, fail, change their keys, or say less or more than they should."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwk

from engines.registry.access import AccessEntry
from server.sign_in import bounded_http, discovery
from server.sign_in.issuers import Issuers
from tests.support.admin_site import AdminSite, admin_site
from tests.support.fake_issuer import CLIENT, FakeIssuer
from tests.support.signing_in import RULES, came_back, visitor

pytestmark = pytest.mark.anyio


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
    staffed: AdminSite, issuer: FakeIssuer, path: str, answer: tuple[int, Any]
) -> None:
    issuer.answers[path] = answer
    async with visitor(staffed) as browser:
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
    staffed: AdminSite, issuer: FakeIssuer, papers: dict[str, Any]
) -> None:
    issuer.papers = papers
    async with visitor(staffed) as browser:
        page = await browser.get("/console/sign-in/issuer", params={"name": "Staff"})
        assert page.status_code == 502


async def test_an_issuer_that_hangs_costs_a_bounded_wait(
    staffed: AdminSite, issuer: FakeIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded_http, "WAIT_S", 0.2)
    monkeypatch.setattr(discovery, "WHOLE_S", 0.2)
    is_over = threading.Event()

    def hang() -> tuple[int, Any]:
        is_over.wait(30)
        return 200, {}

    issuer.answers["/.well-known/openid-configuration"] = hang
    async with visitor(staffed) as browser:
        page = await browser.get("/console/sign-in/issuer", params={"name": "Staff"})
        is_over.set()
        assert page.status_code == 502


async def test_a_crowd_waits_for_an_issuer_that_hangs_no_longer_than_one(
    staffed: AdminSite, issuer: FakeIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discovery, "WHOLE_S", 0.5)
    is_over = threading.Event()

    def hang() -> tuple[int, Any]:
        is_over.wait(30)
        return 200, {}

    issuer.answers["/.well-known/openid-configuration"] = hang
    async with visitor(staffed) as browser:
        path = "/console/sign-in/issuer?name=Staff"
        pages = await asyncio.gather(*(browser.get(path) for _ in range(20)))
        is_over.set()
        assert {page.status_code for page in pages} == {502}
    assert len(issuer.asked) == 1


@pytest.mark.parametrize("path", ["/token", "/keys", "/userinfo"])
async def test_an_answer_that_nobody_can_read_is_told_on_the_way_back(
    staffed: AdminSite, issuer: FakeIssuer, path: str
) -> None:
    issuer.answers[path] = (200, b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}")
    async with visitor(staffed) as browser:
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
    staffed: AdminSite, issuer: FakeIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discovery, "KEYS_AGAIN_S", 0.0)
    async with visitor(staffed) as browser:
        assert (await came_back(browser, issuer)).status_code == 303
    issuer.key, issuer.header = jwk.RSAKey.generate_key(2048, {"kid": "two"}), {"kid": "two"}
    issuer.codes.add("good")
    async with visitor(staffed) as browser:
        assert (await came_back(browser, issuer)).status_code == 303
    assert [path for path, _ in issuer.asked].count("/keys") == 2
