"""How a session ends, and what does not begin one."""

import time
from contextlib import closing
from pathlib import Path

import pytest

from server.accounts.tenant_wire import MemberPatch, OwnerPatch
from server.ledger import sqlite
from server.ledger.database import SqliteDatabase
from server.ledger.member_store import MemberStore
from server.ledger.owner_store import OwnerStore
from tests.support.admin_site import AdminSite
from tests.support.nodes import until
from tests.support.signing_in import (
    PASSWORD,
    SESSION,
    link_of,
    new_member,
    send,
    signed_in,
    visitor,
    welcomed,
)

pytestmark = pytest.mark.anyio


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
    bob = new_member(site)
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
    bob = new_member(site)

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
        await welcomed(site, browser, new_member(site).member_id)
        assert (await browser.get("/console")).status_code == 200
        assert (await thief.get("/console")).status_code == 303


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


async def test_pages_are_there_while_the_ledger_is_locked(site: AdminSite, tmp_path: Path) -> None:
    """So also while its disk is full: Now says so then."""
    async with visitor(site) as browser:
        await welcomed(site, browser)
        with closing(SqliteDatabase(tmp_path / sqlite.FILE_NAME)) as other:
            other.execute("UPDATE sessions SET seen_at = seen_at - 100")
            [(before,)] = other.query("SELECT seen_at FROM sessions")
            other.connection.execute("BEGIN IMMEDIATE")
            began = time.monotonic()
            for page in ("", "/keys", "/account"):
                assert (await browser.get(f"/console{page}")).status_code == 200
            assert time.monotonic() - began < 8, "nobody waits for the lock: it is tried for 10 s"
            other.connection.execute("ROLLBACK")

            def is_seen() -> bool:
                return bool(other.query("SELECT seen_at FROM sessions")[0][0] > before)

            await until(is_seen)
