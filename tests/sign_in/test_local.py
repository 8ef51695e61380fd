"""A name and a password: the first admin, those who are invited, who has to wait, who is out."""

import asyncio
from contextlib import closing

import pytest

from server.ledger.audit import newest
from server.ledger.member_store import MemberStore
from server.ledger.password_store import PasswordStore
from tests.support.admin_site import AdminSite
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
    bob, proxy = new_member(site), ("192.0.2.7", 1)
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


async def test_a_new_password_ends_links_that_wait(site: AdminSite) -> None:
    bob, new = new_member(site), "another sentence nobody says"
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
    first, bob = f"/console/welcome/{link_of(site.ledger)}", new_member(site)
    async with visitor(site) as browser, visitor(site) as other:
        await welcomed(site, browser, bob.member_id)
        assert (await other.get(first)).status_code == 200


async def test_no_manager_crowds_out_somebody_of_another_owner(site: AdminSite) -> None:
    others = [new_member(site, name=f"m{n}", email="zoe@us.example") for n in range(6)]
    zoe = new_member(site, owner="us", name="Zoe", email="zoe@us.example")
    with closing(site.ledger.open_books()) as books:
        for one in others:
            PasswordStore(books).set(one.member_id, "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$x")
    async with visitor(site) as browser:
        await welcomed(site, browser, zoe.member_id)
    async with visitor(site) as browser:
        assert (await signed_in(browser, name="zoe@us.example")).status_code == 303


async def test_two_members_of_one_name_are_told_apart_by_their_passwords(site: AdminSite) -> None:
    one, two = new_member(site), new_member(site, owner="us", email="bob@us.example")
    async with visitor(site) as browser:
        await welcomed(site, browser, one.member_id)
    async with visitor(site) as browser:
        path = f"/console/welcome/{link_of(site.ledger, two.member_id)}"
        other = "an entirely different one"
        await send(browser, path, password=other, again=other)
    async with visitor(site) as browser:
        await signed_in(browser, name="Bob", password=other)
        page = (await browser.get("/console/account")).text
        assert 'of <bdi class="name">us</bdi>' in page
    async with visitor(site) as browser:
        assert (await signed_in(browser, name="BOB@us.example", password=other)).status_code == 303
