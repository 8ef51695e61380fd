"""Forms at the door: of other sites, odd, too many at once, while the ledger is sick."""

import asyncio
import threading
from contextlib import closing

import pytest

from server.http.asgi import Message
from server.sign_in import passwords
from tests.support.admin_site import AdminSite
from tests.support.signing_in import (
    PASSWORD,
    signed_in,
    token_of,
    visitor,
    welcomed,
)

pytestmark = pytest.mark.anyio


async def test_a_form_of_another_site_signs_nobody_in(site: AdminSite) -> None:
    async with visitor(site) as browser, visitor(site) as attacker:
        await welcomed(site, browser)
        stolen = token_of(await attacker.get("/console/sign-in"))
        fields = {"csrf": stolen, "name": "Ada", "password": PASSWORD}
        async with visitor(site) as victim:
            await victim.get("/console/sign-in")
            assert (await victim.post("/console/sign-in", data=fields)).status_code == 403
            assert (await victim.post("/console/sign-in", data={"a": "b"})).status_code == 403


async def test_a_crowd_at_the_door_is_bounded(
    site: AdminSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()
    monkeypatch.setattr(passwords, "MOST_WAITING", 3)
    monkeypatch.setattr(passwords.Passwords, "_fits", lambda *_: not gate.wait(30))
    doors = [visitor(site, client=(f"192.0.2.{n}", 1)) for n in range(12)]
    tokens = [token_of(await door.get("/console/sign-in")) for door in doors]
    forms = [
        door.post("/console/sign-in", data={"csrf": token, "name": "Ada", "password": PASSWORD})
        for door, token in zip(doors, tokens, strict=True)
    ]
    ended = asyncio.as_completed(forms)
    refused = [await next(ended) for _ in range(12 - 3 - passwords.AT_ONCE)]
    gate.set()
    assert {answer.status_code for answer in refused} == {503}
    assert "again in a few seconds" in refused[0].text
    assert {(await each).status_code for each in ended} == {401}
    assert (await signed_in(doors[0])).status_code == 401


@pytest.mark.parametrize(
    "target",
    [
        *("https://evil.example", "//evil.example", "/console/../x", "/consolex", "", "/"),
        *("/console//evil", "/console\\evil", "/console/a\r\nX: y", "javascript:alert(1)"),
    ],
)
async def test_nobody_is_led_elsewhere(site: AdminSite, target: str) -> None:
    async with visitor(site) as browser:
        await welcomed(site, browser)
    async with visitor(site) as browser:
        entered = await signed_in(browser, next=target)
        assert entered.headers["location"] == "/console"


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"a=" + b"x" * 70_000, "application/x-www-form-urlencoded", 413),
        (b"{}", "application/json", 415),
        (b"a=%00", "application/x-www-form-urlencoded", 400),
        (b"a=%ff", "application/x-www-form-urlencoded", 400),
        (b"\xff", "application/x-www-form-urlencoded", 400),
        (b"&".join(b"a%d=1" % n for n in range(300)), "application/x-www-form-urlencoded", 400),
    ],
)
async def test_odd_forms_are_refused_in_words(
    site: AdminSite, body: bytes, kind: str, status: int
) -> None:
    async with visitor(site) as browser:
        for path in ("/console/sign-in", "/console/welcome/x", "/console/account/password"):
            answer = await browser.post(path, content=body, headers={"content-type": kind})
            assert answer.status_code == status, path


async def test_a_browser_that_leaves_within_its_form_is_no_failure(site: AdminSite) -> None:
    sent: list[Message] = []
    coming = [{"type": "http.request", "body": b"csrf=", "more_body": True}]

    async def receive() -> Message:
        return coming.pop() if coming else {"type": "http.disconnect"}

    async def send_out(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/console/sign-in", "query_string": b""}
    scope |= {"headers": [(b"content-type", b"application/x-www-form-urlencoded")]}
    scope |= {"http_version": "1.1", "scheme": "http", "server": ("localhost", 80)}
    await site.app({**scope, "client": ("192.0.2.1", 1), "root_path": ""}, receive, send_out)
    assert sent[0]["status"] == 400


@pytest.mark.parametrize("table", ["sessions", "members"])
async def test_a_sick_ledger_is_a_page_and_no_trace(site: AdminSite, table: str) -> None:
    async with visitor(site) as browser, visitor(site) as other:
        await welcomed(site, browser)
        token = token_of(await other.get("/console/sign-in"))
        with closing(site.ledger.open_books()) as books:
            books.execute(f"ALTER TABLE {table} RENAME TO gone")
        page = await browser.get("/console/members")
        assert (page.status_code, page.headers["content-type"]) == (503, "text/html; charset=utf-8")
        assert table not in page.text.replace("/console/members", "")
        form = {"csrf": token, "name": "Ada", "password": PASSWORD}
        refused = await other.post("/console/sign-in", data=form)
        assert (refused.status_code, "log says why" in refused.text) == (503, True)
        with closing(site.ledger.open_books()) as books:
            books.execute(f"ALTER TABLE gone RENAME TO {table}")
        assert (await browser.get("/console/members")).status_code == 200


async def test_the_admin_api_tells_of_a_sick_ledger(site: AdminSite) -> None:
    with closing(site.ledger.open_books()) as books:
        books.execute("ALTER TABLE audit RENAME TO gone")
    refused = await site.ask("GET", "/admin/v1/audit", 503)
    assert refused["error"]["code"] == "OVERLOADED"
    assert "gone" not in str(refused)
    assert "audit" not in str(refused)
