"""The frame of all pages as a browser has it."""

from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser

from tests.support.browser import LAPTOP, PHONE, axe, needs_browser, tab
from tests.support.given_session import GivenSessions
from tests.support.serving import serving

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
