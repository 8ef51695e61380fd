"""Usage by key and by member: their names, with the ids beside; files have ids alone."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from server.accounts.principal import Principal
from server.ledger.database import Database
from server.ledger.key_store import KeyStore
from server.ledger.member_store import MemberStore
from server.ledger.shown_names import shown_names
from tests.support.admin_site import AdminSite, admin_site
from tests.support.given_session import GivenSessions
from tests.support.invoicing import add, used
from tests.support.people import PEOPLE, People

pytestmark = pytest.mark.anyio

ASKED = "first=2026-03-01&last=2026-03-31"
HOSTILE = "<b>\u202ehers</b>"
PERSONS = People()
SESSIONS = GivenSessions()


def prepare(books: Database) -> None:
    PERSONS.make(books)
    for who, key_id in PERSONS.keys.items():
        add(books, used("2026-03", PEOPLE[who][1] or "globex", 7, key_id=key_id))
    KeyStore(books).update(PERSONS.keys["mel"], lambda key: replace(key, name=HOSTILE))
    KeyStore(books).revoke(PERSONS.keys["mel"])


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[AdminSite]:
    async with admin_site(tmp_path, SESSIONS, prepare=prepare) as site:
        yield site


async def shown(site: AdminSite, who: str, by: str) -> str:
    role, owner = PEOPLE[who]
    SESSIONS.principal = Principal(kind="member", name=PERSONS.ids[who], role=role, owner=owner)
    return (await site.client.get(f"/console/usage?{ASKED}&by={by}")).text


async def test_a_name_stands_before_its_id(site: AdminSite) -> None:
    page = await shown(site, "root", "key")
    for who, key_id in PERSONS.keys.items():
        name = "&lt;b&gt;\u202ehers&lt;/b&gt;" if who == "mel" else f"of {who}"
        assert f'<bdi class="name">{name}</bdi> <code>{key_id}</code>' in page
    page = await shown(site, "root", "member")
    for who, member_id in PERSONS.ids.items():
        assert f'<bdi class="name">{who}</bdi> <code>{member_id}</code>' in page


async def test_nobody_is_told_names_of_whom_they_do_not_see(site: AdminSite) -> None:
    page = await shown(site, "gil", "member")
    assert f"<code>{PERSONS.ids['root']}</code>" in page, "of the site; the key is the owner's"
    assert 'class="name">root<' not in page
    assert 'class="name">gus<' in page
    page = await shown(site, "mel", "key")
    assert "of pal" not in page
    assert PERSONS.keys["mel"] in page


async def test_files_are_as_they_were(site: AdminSite) -> None:
    await shown(site, "root", "key")
    file = await site.client.get(f"/console/usage/file?{ASKED}&by=key&format=csv")
    columns, *lines = file.text.splitlines()
    assert columns.split(",")[:3] == ["key", "currency", "requests"]
    assert len(lines) == len(PEOPLE)
    assert "of mel" not in file.text
    assert "hers" not in file.text


async def test_of_thousands_of_ids_each_is_found_once(site: AdminSite) -> None:
    books = site.ledger.open_books()
    ids = [f"no_{number}" for number in range(2100)]
    found = shown_names(books, "member", [*ids, *PERSONS.ids.values(), *ids, ""])
    assert found == {each: name for name, each in PERSONS.ids.items()}
    only = shown_names(books, "member", PERSONS.ids.values(), owner="acme")
    assert sorted(only.values()) == ["aud", "boss", "mel", "pal"]
    assert len(MemberStore(books).list()) == len(PEOPLE)
    books.close()
