"""The frame of all pages as a browser has it."""

from contextlib import closing
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser

from server.accounts.principal import Principal
from server.ledger.password_store import PasswordStore
from tests.support.browser import LAPTOP, PHONE, axe, needs_browser, tab
from tests.support.given_session import GivenSessions
from tests.support.serving import scripted, serving

pytestmark = [needs_browser, pytest.mark.slow]


@pytest.mark.parametrize("size", [LAPTOP, PHONE], ids=["laptop", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_is_readable_and_runs_nothing_that_its_policy_stops(
    browser: Browser, tmp_path: Path, size: tuple[int, int], scheme: Literal["light", "dark"]
) -> None:
    with (
        serving(tmp_path, sessions=GivenSessions()) as served,
        tab(browser, served.url, size=size, scheme=scheme) as shown,
    ):
        shown.page.goto("/console")
        assert shown.page.title() == "Now · Fjord"
        shown.wants_no_sideways_scroll()
        assert axe(shown.page) == []


def test_the_keyboard_finds_the_content_first(browser: Browser, tmp_path: Path) -> None:
    with (
        serving(tmp_path, sessions=GivenSessions()) as served,
        tab(browser, served.url) as shown,
    ):
        shown.page.goto("/console")
        shown.page.keyboard.press("Tab")
        shown.page.keyboard.press("Enter")
        assert shown.page.evaluate("document.activeElement.id") == "main"


def test_longest_names_fit_a_phone_also_where_there_is_no_page(
    browser: Browser, tmp_path: Path
) -> None:
    long = "w" * 200
    somebody = Principal(kind="member", name="m_1", role="manager", owner=long, title=long)
    with (
        serving(tmp_path, scripted("m" * 150), sessions=GivenSessions(somebody)) as served,
        tab(browser, served.url, size=PHONE, may_complain=True) as shown,
    ):
        for path in ("", "/models", f"/models/{'m' * 150}", f"/usage?owner={long}", f"/{long}"):
            shown.page.goto(f"/console{path}")
            shown.wants_no_sideways_scroll()
        assert shown.page.title() == "Not found · Fjord"
        assert axe(shown.page) == []


@pytest.mark.parametrize("size", [LAPTOP, PHONE], ids=["laptop", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_way_in_is_readable(
    browser: Browser, tmp_path: Path, size: tuple[int, int], scheme: Literal["light", "dark"]
) -> None:
    """What runs here, the first admin's link, signing in, one's own account."""
    with (
        serving(tmp_path) as served,
        tab(browser, served.url, size=size, scheme=scheme) as shown,
    ):
        with closing(served.services.ledger.open_books()) as books:
            link = f"/console/welcome/{PasswordStore(books).invite(None)}"
        page, titles = shown.page, []
        for path in ("/", "/console/sign-in", link):
            page.goto(path)
            titles.append(page.title())
            shown.wants_no_sideways_scroll()
            assert axe(page) == [], path
        page.get_by_label("Your name").fill("Kari")
        for label in ("New password", "Once more"):
            page.get_by_label(label, exact=True).fill("correct horse battery staple")
        page.get_by_role("button").last.click()
        page.goto("/console/account")
        page.get_by_label("Present password").wait_for()
        shown.wants_no_sideways_scroll()
        assert axe(page) == []
        assert len({*titles, page.title()}) >= 3
