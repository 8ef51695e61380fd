"""A real browser: Chromium of the system, driven by Playwright; and what axe says of a page."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
AXE = Path(__file__).parents[1] / "node/node_modules/axe-core/axe.min.js"
QUIET = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)
"""It asks nobody for anything but the page."""

needs_browser = pytest.mark.skipif(
    CHROMIUM is None, reason="needs a Chromium (`make browser` installs Debian's)"
)
PHONE, LAPTOP = (360, 740), (1280, 800)


@contextmanager
def chromium() -> Iterator[Browser]:
    root = () if os.geteuid() else ("--no-sandbox",)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*QUIET, *root])
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Tab:
    """A page, and what went wrong on it: errors of scripts, what its policy stopped."""

    page: Page
    complaints: list[str] = field(default_factory=list)

    def hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def wants_no_sideways_scroll(self) -> None:
        wide, has = self.page.evaluate(
            "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        )
        assert wide <= has, f"the page is {wide} px wide on a screen of {has}"


@contextmanager
def tab(
    browser: Browser,
    url: str,
    *,
    size: tuple[int, int] = LAPTOP,
    scheme: Literal["light", "dark"] = "light",
    may_complain: bool = False,
) -> Iterator[Tab]:
    """A window of its own, without cookies; `url` is what its paths are of. Fails where the
    browser complained, unless it may."""
    width, height = size
    context = browser.new_context(
        base_url=url,
        viewport={"width": width, "height": height},
        color_scheme=scheme,
        reduced_motion="reduce",
    )
    context.set_default_timeout(10_000)
    shown = Tab(context.new_page())
    shown.page.on("console", shown.hear)
    shown.page.on("pageerror", lambda error: shown.complaints.append(str(error)))
    try:
        yield shown
        assert may_complain or not shown.complaints, shown.complaints
    finally:
        context.close()


def axe(page: Page) -> list[str]:
    """What is in the way of people who cannot see, or use no mouse: WCAG A and AA; a line each."""
    if not AXE.exists():
        pytest.skip("axe-core is not installed (npm)")
    page.evaluate(AXE.read_text())
    tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
    options = {"runOnly": {"type": "tag", "values": tags}}
    found: dict[str, Any] = page.evaluate("options => axe.run(document, options)", options)
    return [
        f"{wrong['id']}: {wrong['help']}: {node['html'][:200]}"
        for wrong in found["violations"]
        for node in wrong["nodes"]
    ]
