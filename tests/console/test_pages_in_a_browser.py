"""Now, Models and Chat as a browser has them: readable, live, and safe from what models say."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from engines.base import Reasoning
from server.api.admin.now import routes
from tests.support.browser import LAPTOP, PHONE, Tab, axe, needs_browser, tab
from tests.support.carded import CardedEngine, carded_memory
from tests.support.console_people import person
from tests.support.given_session import GivenSessions
from tests.support.serving import Served, make_key, scripted, serving, wait_until

pytestmark = [needs_browser, pytest.mark.slow]

HOSTILE = (
    "<img src=x onerror=alert(1)> <script>alert(2)</script> [here](javascript:alert(3))\n"
    "```html\n<svg onload=alert(4)>\n```\nand <b>no</b> more"
)
SESSIONS = GivenSessions()
PAGES = ("/console", "/console/models", "/console/models/hostile", "/console/chat")
MOST_BYTES = 150_000


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    data_dir = tmp_path_factory.mktemp("data")
    make_key(data_dir, name="first", owner="acme")
    SESSIONS.principal = person(data_dir)
    models = [
        scripted("hostile", text=HOSTILE),
        scripted("slow", text=" ".join(["word"] * 500), token_delay_s=0.02),
        scripted("thinks", reasoning=Reasoning(), reasoning_text="Norway.", text="Oslo."),
        scripted("tools", tool_parser="hermes", calls_tools=True, text="Four degrees."),
        scripted("spare"),
    ]
    fleet = {"memory": carded_memory()}
    with serving(data_dir, *models, build=CardedEngine, fleet=fleet, sessions=SESSIONS) as server:
        yield server


@pytest.mark.parametrize("size", [LAPTOP, PHONE], ids=["laptop", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_are_readable(
    browser: Browser, served: Served, size: tuple[int, int], scheme: Literal["light", "dark"]
) -> None:
    with tab(browser, served.url, size=size, scheme=scheme) as shown:
        for path in PAGES:
            shown.page.goto(path)
            shown.wants_no_sideways_scroll()
            assert axe(shown.page) == [], path


def begun(shown: Tab, model: str) -> Page:
    page = shown.page
    page.goto(f"/console/chat?model={model}")
    page.get_by_role("button", name="Start").click()
    page.get_by_label("Message", exact=True).wait_for()
    return page


def say(page: Page, text: str) -> None:
    page.get_by_label("Message", exact=True).fill(text)
    page.get_by_label("Message", exact=True).press("Enter")


def is_over(page: Page) -> None:
    page.locator("#send:not([disabled])").wait_for()


def test_what_a_model_says_is_text(browser: Browser, served: Served) -> None:
    with tab(browser, served.url) as shown:
        shown.page.on("dialog", lambda dialog: pytest.fail(dialog.message))
        page = begun(shown, "hostile")
        say(page, "<img src=x onerror=alert(5)>")
        is_over(page)
        lanes = page.locator("#lanes")
        assert lanes.locator("img, script, svg, a, b").count() == 0
        text = lanes.inner_text()
        assert "<img src=x onerror=alert(1)>" in text
        assert "[here](javascript:alert(3))" in text
        assert lanes.locator("pre code").inner_text() == "<svg onload=alert(4)>"
        page.get_by_role("button", name="As code").click()
        page.locator("#code pre").first.wait_for()
        assert page.locator("#code img, #code script").count() == 0
        assert axe(page) == []


def test_two_models_answer_side_by_side_and_thoughts_are_folded(
    browser: Browser, served: Served
) -> None:
    with tab(browser, served.url, size=PHONE) as shown:
        page = begun(shown, "hostile")
        page.get_by_label("Two side by side").check()
        page.get_by_label("Beside it").select_option("thinks")
        say(page, "Where?")
        is_over(page)
        second = page.locator("#lane-1 .answer")
        assert second.locator("details").get_attribute("open") is None
        assert "Oslo." in second.inner_text()
        assert re.search(r"\d+ tokens in, \d+ out", second.inner_text())
        assert re.search(r"0\.\d+ NOK", second.inner_text())
        shown.wants_no_sideways_scroll()


def test_a_stopped_answer_is_billed_as_far_as_it_came(browser: Browser, served: Served) -> None:
    with tab(browser, served.url) as shown:
        page = begun(shown, "slow")
        say(page, "go")
        page.get_by_text("word word").wait_for()
        page.get_by_role("button", name="Stop").click()
        is_over(page)
        said = page.locator(".answer").inner_text()
        assert "Stopped." in said
        assert "client left" in said
        assert "NOK" in said


def test_a_tool_that_is_called_is_answered_by_hand(browser: Browser, served: Served) -> None:
    with tab(browser, served.url) as shown:
        page = begun(shown, "tools")
        tools = '[{"type": "function", "function": {"name": "weather", "parameters": {}}}]'
        page.get_by_label("Tools (JSON)").fill(tools)
        say(page, "Is it cold?")
        page.get_by_label("What weather says").fill("4")
        page.get_by_role("button", name="Give it").click()
        page.get_by_text("Four degrees.").wait_for()
        assert axe(page) == []


def test_what_is_wrong_is_said_in_the_servers_words(browser: Browser, served: Served) -> None:
    with tab(browser, served.url, may_complain=True) as shown:
        page = begun(shown, "hostile")
        page.get_by_label("Tools (JSON)").fill("[")
        say(page, "?")
        assert page.locator("#said").inner_text().startswith("Tools: ")
        page.get_by_label("Tools (JSON)").fill("")
        page.get_by_label("Other parameters (JSON)").fill('{"temperature": 9}')
        page.get_by_role("button", name="Send").click()
        page.get_by_text("expected a number from 0 to 2").wait_for()
        say(page, "again")
        page.get_by_text("expected a number from 0 to 2").nth(1).wait_for()


def test_the_key_ends_when_the_page_is_left(browser: Browser, served: Served) -> None:
    ring = served.services.ring
    with tab(browser, served.url) as shown:
        begun(shown, "hostile")
        shown.page.goto("/console/models")

        def alive() -> int:
            keys = [k.key for k in ring.by_hash.values() if k.key.name == "playground"]
            return sum(key.revoked_at is None for key in keys)

        wait_until(lambda: alive() == 0, "no playground's key is left")
        stored = "JSON.stringify([localStorage, sessionStorage])"
        assert "wayscloud" not in shown.page.evaluate(stored)


def test_now_is_kept_up_to_date(browser: Browser, served: Served) -> None:
    with tab(browser, served.url) as shown:
        page = shown.page
        page.goto("/console")
        page.get_by_role("button", name="load spare", exact=True).click()
        page.get_by_text("spare is being loaded.").wait_for()
        row = page.locator('tr[data-alias="spare"]')
        row.get_by_text("ready").wait_for()
        row.get_by_role("button", name="unload spare").wait_for()
        assert page.locator("#plots canvas").count() == 3
        page.locator("#live", has_text="live").wait_for()
        page.get_by_role("button", name="unload spare").click()
        row.get_by_text("cold").wait_for()
        row.get_by_role("button", name="load spare", exact=True).wait_for()
        assert axe(page) == []


def test_an_owners_people_see_no_figures_of_all(browser: Browser, served: Served) -> None:
    ada = SESSIONS.principal
    SESSIONS.principal = person(served.data_dir, "member", "acme")
    try:
        with tab(browser, served.url) as shown:
            shown.page.goto("/console")
            shown.page.locator("#live", has_text="live").wait_for()
            assert shown.page.locator("#models tr").count() == 5
            assert shown.page.locator("#total, #plots, #devices, form[data-command]").count() == 0
            assert axe(shown.page) == []
            page = begun(shown, "hostile")
            say(page, "hei")
            is_over(page)
            assert "NOK" in page.locator(".answer").inner_text()
    finally:
        SESSIONS.principal = ada


def test_who_has_signed_out_elsewhere_is_led_to_the_door(
    browser: Browser, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "ASK_AGAIN_S", 0.0)
    ada = SESSIONS.principal
    try:
        with tab(browser, served.url, may_complain=True) as shown:
            shown.page.goto("/console")
            expect(shown.page.locator("#live")).to_have_text("live")
            SESSIONS.principal = None
            expect(shown.page).to_have_url(re.compile("/console/sign-in"))
    finally:
        SESSIONS.principal = ada


def test_a_page_without_javascript_has_all_of_it(browser: Browser, served: Served) -> None:
    context = browser.new_context(java_script_enabled=False, base_url=served.url)
    page = context.new_page()
    page.goto("/console")
    assert page.locator("#models tr").count() == 5
    page.get_by_role("button", name="pin slow", exact=True).click()
    assert "slow is pinned" in page.locator("[role=status].done").inner_text()
    page.get_by_role("button", name="unpin slow").click()
    context.close()


@pytest.mark.parametrize("path", PAGES)
def test_a_page_weighs_little(served: Served, path: str) -> None:
    page = httpx.get(served.url + path).text
    left = set(re.findall(r'(?:src|href)="(/console/static/[^"]+)"', page))
    weight, seen = len(page.encode()), set[str]()
    while left - seen:
        url = (left - seen).pop()
        seen.add(url)
        body = httpx.get(served.url + url).raise_for_status().content
        weight += len(body)
        left |= {
            f"/console/static/{name}" for name in re.findall(r'"\./([^"]+\.js)"', body.decode())
        }
    assert len(seen) > 3
    assert weight < MOST_BYTES, weight


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    models = [scripted(f"model-{number}") for number in range(25)]
    data_dir: Path = tmp_path_factory.mktemp("data")
    with serving(data_dir, *models, sessions=GivenSessions()) as server:
        yield server


def test_now_weighs_little_with_many_models(many: Served) -> None:
    test_a_page_weighs_little(many, "/console")


@pytest.mark.alone
@pytest.mark.parametrize("path", ["", "/models", "/models/model-7", "/chat"])
def test_a_page_of_many_models_is_quick(many: Served, path: str) -> None:
    with httpx.Client(base_url=many.url) as client:
        took = []
        for _ in range(10):
            answer = client.get(f"/console{path}")
            assert answer.status_code == 200
            took.append(answer.elapsed.total_seconds())
    assert sorted(took)[5] < 0.05, took
