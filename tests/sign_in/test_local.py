"""A name and a password: the first admin, those who are invited, who has to wait, who is out."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from server.accounts.tenant_wire import MemberPatch, OwnerPatch
from server.http.asgi import Message
from server.ledger.audit import newest
from server.ledger.member_store import MemberStore
from server.ledger.owner_store import OwnerStore
from server.ledger.password_store import PasswordStore
from server.ledger.tenants import MemberLevel
from server.sign_in import passwords
from tests.support.admin_site import AdminSite, admin_site
from tests.support.signing_in import (
    PASSWORD,
    link_of,
    send,
    signed_in,
    token_of,
    visitor,
    welcomed,
)

pytestmark = pytest.mark.anyio
SESSION = "fjord_session"


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[AdminSite]:
    async with admin_site(tmp_path) as found:
        yield found


def member(site: AdminSite, **fields: str) -> MemberLevel:
    said = {"member_id": "", "owner": "acme", "name": "Bob", "role": "member"} | fields
    with closing(site.ledger.open_books()) as books:
        return MemberStore(books).create(MemberLevel(**said))  # type: ignore[arg-type]


async def test_the_first_admin_comes_by_a_link_and_then_by_a_password(site: AdminSite) -> None:
    async with visitor(site) as browser:
        assert (await browser.get("/console")).headers["location"].startswith("/console/sign-in")
        entered = await welcomed(site, browser)
        assert entered.headers["location"] == "/console"
        cookie = next(c for c in entered.headers.get_list("set-cookie") if c.startswith(SESSION))
        assert {"HttpOnly", "SameSite=lax", "Path=/console"} <= set(cookie.split("; "))
        assert "Ada" in (await browser.get("/console")).text
    async with visitor(site) as browser:
        entered = await signed_in(browser, next="/console/account")
        assert (entered.status_code, entered.headers["location"]) == (303, "/console/account")
        with closing(site.ledger.open_books()) as books:
            said = [(e.action, e.actor_kind) for e in newest(books, 4)]
            made = newest(books, 9, action="member.create")[0]
        assert said[0] == ("session.begin", "member")
        assert ("member.password", "member") in said
        assert (made.actor_kind, made.actor) == ("operator", "one-time link")


async def test_a_link_is_good_once_also_for_two_at_once(site: AdminSite) -> None:
    path = f"/console/welcome/{link_of(site.ledger)}"
    async with visitor(site) as one, visitor(site) as other:
        forms = [
            send(who, path, name=name, password=PASSWORD, again=PASSWORD)
            for who, name in ((one, "Ada"), (other, "Eve"))
        ]
        answers = await asyncio.gather(*forms)
        assert sorted(answer.status_code for answer in answers) == [303, 410]
        assert (await one.get(path)).status_code == 410
    with closing(site.ledger.open_books()) as books:
        assert len(MemberStore(books).list()) == 1


async def test_a_link_for_a_first_admin_ends_when_there_is_one(site: AdminSite) -> None:
    async with visitor(site) as browser, visitor(site) as late:
        first = link_of(site.ledger)
        await welcomed(site, browser)  # by a newer link, which ends the former
        assert (await late.get(f"/console/welcome/{first}")).status_code == 410
        assert (await late.get(f"/console/welcome/{link_of(site.ledger)}")).status_code == 410


@pytest.mark.parametrize(
    ("password", "again", "words"),
    [
        ("short", "short", "from 12 to 256"),
        ("x" * 257, "x" * 257, "from 12 to 256"),
        (PASSWORD, PASSWORD + "!", "not the same"),
        ("aaaaaaaaaaaaaaaa", "aaaaaaaaaaaaaaaa", "different characters"),
        ("Ada Lovelace the first", "Ada Lovelace the first", "neither a name"),
    ],
)
async def test_a_bad_password_is_refused_and_the_link_stays_good(
    site: AdminSite, password: str, again: str, words: str
) -> None:
    path, name = f"/console/welcome/{link_of(site.ledger)}", "Ada Lovelace the first"
    async with visitor(site) as browser:
        answer = await send(browser, path, name=name, password=password, again=again)
        assert answer.status_code == 400
        assert words in answer.text
        assert name in answer.text
        answer = await send(browser, path, name=name, password=PASSWORD, again=PASSWORD)
        assert answer.status_code == 303


async def test_a_wrong_password_and_an_unknown_name_are_one(site: AdminSite) -> None:
    async with visitor(site) as browser:
        await welcomed(site, browser)
    async with visitor(site) as browser:
        wrong = await signed_in(browser, password="not the right one")
        nobody = await signed_in(browser, name="Ada")
        assert nobody.status_code == 303
    async with visitor(site) as browser:
        unknown = await signed_in(browser, name="Nobody here")
        assert (wrong.status_code, unknown.status_code) == (401, 401)
        assert "No member has this name and this password." in wrong.text
        assert "No member has this name and this password." in unknown.text


async def test_who_guesses_waits_and_nobody_elsewhere_does(site: AdminSite) -> None:
    async with visitor(site) as browser:
        await welcomed(site, browser)
    async with visitor(site, client=("192.0.2.7", 1)) as guesser:
        for _ in range(5):
            assert (await signed_in(guesser, password="guess guess guess")).status_code == 401
        refused = await signed_in(guesser)  # the right one, too late
        assert refused.status_code == 429
        assert "try again in" in refused.text
    async with visitor(site, client=("192.0.2.8", 1)) as browser:
        assert (await signed_in(browser)).status_code == 303


async def test_nobody_behind_the_same_proxy_has_a_known_browser_wait(site: AdminSite) -> None:
    bob, proxy = member(site), ("192.0.2.7", 1)
    async with visitor(site) as browser:
        await welcomed(site, browser)
        await welcomed(site, browser, bob.member_id)
    async with visitor(site, client=proxy) as browser, visitor(site, client=proxy) as guesser:
        assert (await signed_in(browser)).status_code == 303
        await send(browser, "/console/sign-out", show="/console")
        for _ in range(5):
            assert (await signed_in(guesser, password="guess guess guess")).status_code == 401
        assert (await signed_in(guesser)).status_code == 429
        for _ in range(5):  # its own guesses count, too
            assert (await signed_in(browser, password="guess guess guess")).status_code == 401
        assert (await signed_in(browser)).status_code == 429
        assert (await signed_in(browser, name="Bob")).status_code == 303  # by its address
    async with visitor(site, client=proxy) as browser:
        await signed_in(browser, name="Bob")
        known = browser.cookies["fjord_known"]
        await send(browser, "/console/sign-out", show="/console")
        assert browser.cookies["fjord_known"] == known
        assert (await signed_in(browser)).status_code == 429  # known as Bob, not as Ada


async def test_a_form_of_another_site_signs_nobody_in(site: AdminSite) -> None:
    async with visitor(site) as browser, visitor(site) as attacker:
        await welcomed(site, browser)
        stolen = token_of(await attacker.get("/console/sign-in"))
        fields = {"csrf": stolen, "name": "Ada", "password": PASSWORD}
        async with visitor(site) as victim:
            await victim.get("/console/sign-in")
            assert (await victim.post("/console/sign-in", data=fields)).status_code == 403
            assert (await victim.post("/console/sign-in", data={"a": "b"})).status_code == 403


async def test_signing_out_ends_the_session_on_the_server(site: AdminSite) -> None:
    async with visitor(site) as browser:
        await welcomed(site, browser)
        kept = browser.cookies[SESSION]
        without = await browser.post("/console/sign-out", data={"csrf": "x"})
        assert without.status_code == 403
        await send(browser, "/console/sign-out", show="/console")
        assert SESSION not in browser.cookies
        browser.cookies.set(SESSION, kept, path="/console")
        assert (await browser.get("/console")).status_code == 303


@pytest.mark.parametrize("end", ["disable", "archive", "password", "all"])
async def test_a_session_ends_with_what_it_stands_on(site: AdminSite, end: str) -> None:
    bob = member(site)
    async with visitor(site) as browser:
        await welcomed(site, browser, bob.member_id)
        assert (await browser.get("/console")).status_code == 200
        with closing(site.ledger.open_books()) as books:
            if end == "disable":
                MemberStore(books).update(bob.member_id, MemberPatch(disabled=True).apply)
            elif end == "archive":
                OwnerStore(books).update("acme", OwnerPatch(archived=True).apply)
        async with visitor(site) as other:
            if end == "password":
                await welcomed(site, other, bob.member_id)
            elif end == "all":
                await site.ask("DELETE", f"/admin/v1/members/{bob.member_id}/sessions")
        assert (await browser.get("/console")).status_code == 303


@pytest.mark.parametrize("end", ["disable", "archive"])
async def test_what_has_ended_does_not_begin_again(site: AdminSite, end: str) -> None:
    bob = member(site)

    def change(is_out: bool) -> None:
        with closing(site.ledger.open_books()) as books:
            if end == "disable":
                MemberStore(books).update(bob.member_id, MemberPatch(disabled=is_out).apply)
            else:
                OwnerStore(books).update("acme", OwnerPatch(archived=is_out).apply)

    async with visitor(site) as browser, visitor(site) as other:
        await welcomed(site, browser, bob.member_id)
        path = f"/console/welcome/{link_of(site.ledger, bob.member_id)}"
        change(True)
        change(False)
        assert (await browser.get("/console")).status_code == 303
        assert (await other.get(path)).status_code == 410
        assert (await signed_in(other, name="Bob")).status_code == 303


async def test_who_signs_in_over_a_session_leaves_none_behind(site: AdminSite) -> None:
    async with visitor(site) as browser, visitor(site) as thief:
        await welcomed(site, browser)
        thief.cookies.set(SESSION, browser.cookies[SESSION], path="/console")
        assert (await thief.get("/console")).status_code == 200
        await welcomed(site, browser, member(site).member_id)
        assert (await browser.get("/console")).status_code == 200
        assert (await thief.get("/console")).status_code == 303


async def test_a_new_password_ends_links_that_wait(site: AdminSite) -> None:
    bob, new = member(site), "another sentence nobody says"
    async with visitor(site) as browser, visitor(site) as other:
        await welcomed(site, browser, bob.member_id)
        path, show = f"/console/welcome/{link_of(site.ledger, bob.member_id)}", "/console/account"
        fields = {"old": PASSWORD, "password": new, "again": new}
        done = await send(browser, f"{show}/password", show=show, **fields)
        assert done.status_code == 303
        assert (await other.get(path)).status_code == 410


async def test_each_node_shows_a_link_for_the_first_admin(site: AdminSite) -> None:
    one, other = (f"/console/welcome/{link_of(site.ledger)}" for _ in range(2))
    async with visitor(site) as browser, visitor(site) as late:
        assert (await browser.get(one)).status_code == 200
        done = await send(browser, one, name="Ada", password=PASSWORD, again=PASSWORD)
        assert done.status_code == 303
        assert (await late.get(other)).status_code == 410
    with closing(site.ledger.open_books()) as books:
        assert books.query("SELECT count(*) FROM sign_in_links") == [(0,)]


async def test_an_invited_member_leaves_the_first_admins_link(site: AdminSite) -> None:
    first, bob = f"/console/welcome/{link_of(site.ledger)}", member(site)
    async with visitor(site) as browser, visitor(site) as other:
        await welcomed(site, browser, bob.member_id)
        assert (await other.get(first)).status_code == 200


async def test_no_manager_crowds_out_somebody_of_another_owner(site: AdminSite) -> None:
    others = [member(site, name=f"m{n}", email="zoe@us.example") for n in range(6)]
    zoe = member(site, owner="us", name="Zoe", email="zoe@us.example")
    with closing(site.ledger.open_books()) as books:
        for one in others:
            PasswordStore(books).set(one.member_id, "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$x")
    async with visitor(site) as browser:
        await welcomed(site, browser, zoe.member_id)
    async with visitor(site) as browser:
        assert (await signed_in(browser, name="zoe@us.example")).status_code == 303


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


async def test_a_changed_cookie_is_none(site: AdminSite) -> None:
    async with visitor(site) as browser:
        await welcomed(site, browser)
        value = browser.cookies[SESSION]
        for changed in (value[:-1], value + "a", "x" + value, value.partition(".")[0], "é", ""):
            browser.cookies.clear()
            headers = {b"cookie": f"{SESSION}={changed}".encode()}
            assert (await browser.get("/console", headers=headers)).status_code == 303


async def test_ones_own_password_and_sessions(site: AdminSite) -> None:
    new = "another sentence nobody says"
    async with visitor(site) as browser, visitor(site) as other:
        await welcomed(site, browser)
        await signed_in(other)
        page = await browser.get("/console/account")
        assert page.text.count('name="session"') == 1
        wrong = await send(
            browser,
            "/console/account/password",
            show="/console/account",
            old="not that one at all",
            password=new,
            again=new,
        )
        assert wrong.status_code == 400
        right = await send(
            browser,
            "/console/account/password",
            show="/console/account",
            old=PASSWORD,
            password=new,
            again=new,
        )
        assert right.headers["location"] == "/console/account?done=1"
        assert (await other.get("/console")).status_code == 303
        assert "Done." in (await browser.get("/console/account?done=1")).text


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


async def test_two_members_of_one_name_are_told_apart_by_their_passwords(site: AdminSite) -> None:
    one, two = member(site), member(site, owner="us", email="bob@us.example")
    async with visitor(site) as browser:
        await welcomed(site, browser, one.member_id)
    async with visitor(site) as browser:
        path = f"/console/welcome/{link_of(site.ledger, two.member_id)}"
        other = "an entirely different one"
        await send(browser, path, password=other, again=other)
    async with visitor(site) as browser:
        await signed_in(browser, name="Bob", password=other)
        assert "of us" in (await browser.get("/console/account")).text
    async with visitor(site) as browser:
        assert (await signed_in(browser, name="BOB@us.example", password=other)).status_code == 303


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
