"""A day of each role, from its first link to signing out, by clicks alone."""

import re
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
from playwright.sync_api import Browser, Page, expect

from server.ledger.audit import verified
from server.ledger.password_store import PasswordStore
from tests.support.browser import needs_browser, tab
from tests.support.serving import Served, scripted, serving

pytestmark = [needs_browser, pytest.mark.slow]

PASSWORD = "a sentence that nobody says"
ANSWER = "Fjords are long, and deep."


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("days"), scripted("m", text=ANSWER)) as made:
        yield made


@contextmanager
def someone(browser: Browser, served: Served) -> Iterator[Page]:
    with tab(browser, served.url) as shown:
        yield shown.page


def first_link(served: Served) -> str:
    with closing(served.services.ledger.open_books()) as books:
        return f"{served.url}/console/welcome/{PasswordStore(books).invite(None)}"


def welcomed(page: Page, link: str, name: str) -> None:
    page.goto(link)
    if page.get_by_label("Your name").count():
        page.get_by_label("Your name").fill(name)
    page.get_by_label("New password").fill(PASSWORD)
    page.get_by_label("Once more").fill(PASSWORD)
    page.get_by_role("button", name="Set the password").click()
    expect(page).to_have_title("Now · Fjord")
    expect(page.get_by_role("link", name=name, exact=True)).to_be_visible()


def to(page: Page, title: str) -> None:
    page.get_by_label("Pages").get_by_role("link", name=title, exact=True).click()
    expect(page).to_have_title(f"{title} · Fjord")


def pages_of(page: Page) -> list[str]:
    return page.get_by_label("Pages").get_by_role("link").all_inner_texts()


def made_member(page: Page, name: str, role: str, owner: str = "") -> str:
    """Its invite link."""
    to(page, "Members")
    page.get_by_role("link", name="Make a member").click()
    page.get_by_label("Name").first.fill(name)
    if owner:
        page.get_by_label("Owner").fill(owner)
    page.get_by_label("Role").select_option(role)
    page.get_by_role("button", name="Make the member").click()
    page.get_by_role("button", name="Make an invite link").click()
    link = page.locator("#text").inner_text()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/console/welcome/\S+", link)
    return link


def made_key(page: Page, name: str) -> str:
    """Its text."""
    to(page, "Keys")
    page.get_by_role("link", name="Make a key").click()
    page.get_by_label("Name").first.fill(name)
    page.get_by_role("button", name="Make the key").click()
    text = page.locator("#text").inner_text()
    assert text.startswith("wayscloud_llm_")
    page.get_by_role("link", name="To the key").click()
    return text


def left(page: Page) -> None:
    page.get_by_role("button", name="Sign out").click()
    expect(page).to_have_title("Sign in · Fjord")
    page.goto("/console/keys")
    expect(page).to_have_title("Sign in · Fjord")


@pytest.fixture(scope="module")
def links(browser: Browser, served: Served) -> dict[str, str]:
    """The admin's day makes the others'."""
    with someone(browser, served) as page:
        welcomed(page, first_link(served), "Ada Admin")
        assert "Audit" in pages_of(page)
        page.get_by_role("button", name="pin m").click()
        expect(page.get_by_role("button", name="unpin m")).to_be_visible()
        page.get_by_role("button", name="load m").click()
        expect(page.get_by_role("button", name="unload m")).to_be_visible()
        to(page, "Owners")
        page.get_by_role("link", name="Make an owner").click()
        page.get_by_label("Name").first.fill("acme")
        page.get_by_role("button", name="Make the owner").click()
        expect(page.get_by_role("heading", name="acme").first).to_be_visible()
        made = {
            "Mia Manager": made_member(page, "Mia Manager", "manager", "acme"),
            "Otto Auditor": made_member(page, "Otto Auditor", "auditor"),
        }
        to(page, "Audit")
        expect(page.get_by_text("member.invite").first).to_be_visible()
        page.get_by_role("link", name="Verify").click()
        expect(page.get_by_text(re.compile("each .*as it was written"))).to_be_visible()
        left(page)
    return made


@pytest.fixture(scope="module")
def members_link(browser: Browser, served: Served, links: dict[str, str]) -> str:
    """The manager's day makes the member's."""
    with someone(browser, served) as page:
        welcomed(page, links["Mia Manager"], "Mia Manager")
        assert "Audit" not in pages_of(page)
        to(page, "Owners")
        assert page.get_by_role("link", name="Make an owner").count() == 0
        made_key(page, "the service")
        page.get_by_role("link", name=re.compile("Revoke")).click()
        page.get_by_role("button", name="Revoke for ever").click()
        expect(page.get_by_text("revoked").first).to_be_visible()
        link = made_member(page, "Max Member", "member")
        left(page)
    return link


def test_an_admins_and_a_managers_day(members_link: str) -> None:
    assert members_link


def test_a_members_day(browser: Browser, served: Served, members_link: str) -> None:
    with someone(browser, served) as page:
        welcomed(page, members_link, "Max Member")
        assert not {"Audit", "Owners", "Members"} & set(pages_of(page))
        made_key(page, "his laptop")
        to(page, "Keys")
        assert page.get_by_role("link", name="the service").count() == 0
        to(page, "Chat")
        page.get_by_role("button", name="Start").click()
        page.get_by_label("Message", exact=True).fill("What is a fjord?")
        page.get_by_role("button", name="Send").click()
        expect(page.get_by_text(ANSWER)).to_be_visible(timeout=20_000)
        to(page, "Usage")
        expect(
            page.get_by_text("1 requests").or_(page.get_by_text("1 request")).first
        ).to_be_visible()
        to(page, "Requests")
        page.get_by_role("table").get_by_role("link").first.click()
        expect(page.get_by_text("200").first).to_be_visible()
        left(page)


def test_an_auditors_day(
    browser: Browser, served: Served, links: dict[str, str], members_link: str
) -> None:
    with someone(browser, served) as page:
        welcomed(page, links["Otto Auditor"], "Otto Auditor")
        for title in ("Models", "Keys", "Owners", "Members", "Usage", "Requests", "Audit"):
            to(page, title)
            assert page.get_by_role("link", name=re.compile("^Make a")).count() == 0
        to(page, "Members")
        page.get_by_role("link", name="Max Member").click()
        buttons = page.get_by_role("main").get_by_role("button").all_inner_texts()
        assert buttons == []
        left(page)
    with closing(served.services.ledger.open_books()) as books:
        last = verified(books)
    assert last is not None


def test_a_wrong_password_is_said_and_nothing_is_lost(
    browser: Browser, served: Served, links: dict[str, str]
) -> None:
    assert links
    with tab(browser, served.url, may_complain=True) as shown:
        page = shown.page
        page.goto("/console/usage?by=key_id")
        page.get_by_label("Name or e-mail address").fill("Ada Admin")
        page.get_by_label("Password").fill("not this one, surely")
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("alert")).to_contain_text("No member has this name")
        expect(page.get_by_label("Name or e-mail address")).to_have_value("Ada Admin")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        expect(page).to_have_url(f"{served.url}/console/usage?by=key_id")
