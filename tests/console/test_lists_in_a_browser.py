"""Keys, owners, members, usage, requests and the audit log as a browser has them."""

import time
from collections.abc import Iterator
from typing import Any, Literal

import httpx
import pytest
from playwright.sync_api import Browser

from tests.support.browser import LAPTOP, PHONE, axe, needs_browser, tab
from tests.support.given_session import GivenSessions
from tests.support.serving import Served, make_key, serving, wait_until

pytestmark = [needs_browser, pytest.mark.slow]

LONG = "w" * 200
PAGES = (
    "/keys",
    "/keys/new",
    "/keys/{key}",
    "/keys/{key}/edit",
    "/keys/{key}/rotate",
    "/keys/{key}/revoke",
    "/owners",
    "/owners/new",
    "/owners/{owner}",
    "/owners/{owner}/edit",
    "/members",
    "/members/new",
    "/members/{member}",
    "/members/{member}/edit",
    "/usage",
    "/usage?by=agent_id",
    "/usage?by=key",
    "/usage/invoices",
    "/requests",
    "/requests/{request}",
    "/audit",
    "/audit/verify",
)
LOOKS = [
    pytest.param(size, scheme, id=f"{name} {scheme}")
    for name, size in (("laptop", LAPTOP), ("phone", PHONE))
    for scheme in ("light", "dark")
]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("lists"), sessions=GivenSessions()) as made:
        yield made


@pytest.fixture(scope="module")
def ids(served: Served) -> dict[str, str]:
    """Of an owner, a member, a key with a name too long for a phone, and a request of it."""
    headers = {"X-API-Key": make_key(served.data_dir, service="admin")}
    with httpx.Client(base_url=f"{served.url}/admin/v1", headers=headers, timeout=60) as admin:
        wait_until(lambda: admin.get("/usage").status_code == 200, "the key is taken")
        budget = {"kind": "money", "amount": "500", "period": "month"}
        owner = admin.post("/owners", json={"name": LONG, "budget": budget, "currency": "NOK"})
        of = {"owner": owner.json()["owner_id"], "name": LONG}
        member = admin.post("/members", json=of).json()
        key = admin.post("/keys", json={**of, "member": member["member_id"]}).json()
    ids = {"owner": of["owner"], "member": member["member_id"], "key": key["key_id"]}
    return {**ids, "request": asked(served, key["key"])}


def asked(served: Served, key: str) -> str:
    """The id of a request with this key."""
    body = {"model": "mixtral-8x7b", "messages": [{"role": "user", "content": "hi"}]}
    url, headers = f"{served.url}/v1/chat/completions", {"X-API-Key": key}

    def answer(**more: Any) -> httpx.Response:
        return httpx.post(url, json={**body, **more}, headers=headers, timeout=60)

    wait_until(lambda: answer().status_code == 200, "the key is taken")
    return str(answer(agent_id="<b>crew</b>").headers["x-request-id"])


@pytest.mark.parametrize(("size", "scheme"), LOOKS)
def test_every_page_is_readable(
    browser: Browser,
    served: Served,
    ids: dict[str, str],
    size: tuple[int, int],
    scheme: Literal["light", "dark"],
) -> None:
    with tab(browser, served.url, size=size, scheme=scheme) as shown:
        wrong = {}
        for path in PAGES:
            shown.page.goto(f"/console{path.format(**ids)}")
            shown.wants_no_sideways_scroll()
            if found := axe(shown.page):
                wrong[path] = found
        assert wrong == {}


def test_a_new_key_is_copied_and_gone_after_a_reload(browser: Browser, served: Served) -> None:
    with tab(browser, served.url) as shown:
        page = shown.page
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        page.goto("/console/keys/new")
        page.get_by_label("Name").fill("from a browser")
        page.keyboard.press("Enter")
        text = page.locator("#text").inner_text()
        assert text.startswith("wayscloud_llm_")
        page.get_by_role("button", name="Copy").press("Enter")
        page.get_by_text("Copied.").wait_for()
        assert page.evaluate("navigator.clipboard.readText()") == text
        assert axe(page) == []
        page.reload()
        assert text not in page.content()
        assert page.get_by_role("heading", name="from a browser").is_visible()
        page.go_back()
        assert text not in page.content()
        found = page.goto("/console/keys?q=from+a+browser")
        assert found is not None
        assert "1–1 of 1 keys" in page.content()


def test_a_list_is_filtered_without_a_reload(
    browser: Browser, served: Served, ids: dict[str, str]
) -> None:
    with tab(browser, served.url) as shown:
        page = shown.page
        page.goto("/console/keys")
        page.evaluate("window.stays = true")
        page.get_by_label("Find").press_sequentially(ids["key"])
        page.locator("#list").get_by_text("1–1 of 1 keys").wait_for()
        assert page.evaluate("window.stays")
        assert f"q={ids['key']}" in page.url
        assert page.evaluate("document.activeElement.name") == "q"
        page.get_by_label("State").select_option("revoked")
        page.locator("#list").get_by_text("No key is like that.").wait_for()
        page.locator("#told", has_text="No keys").wait_for(state="attached")


def test_without_scripts_all_of_it_works(browser: Browser, served: Served) -> None:
    context = browser.new_context(base_url=served.url, java_script_enabled=False)
    page = context.new_page()
    page.goto("/console/keys/new")
    page.get_by_label("Name").fill("plain")
    page.get_by_role("button", name="Make the key").click()
    assert page.locator("#text").inner_text().startswith("wayscloud_llm_")
    page.get_by_role("link", name="To the key").click()
    page.get_by_role("link", name="Revoke").click()
    page.get_by_role("button", name="Revoke for ever").click()
    assert "The key is revoked" in page.content()
    page.goto("/console/keys")
    page.get_by_label("State").select_option("revoked")
    page.get_by_role("button", name="Filter").click()
    assert "plain" in page.locator("table").inner_text()
    context.close()


def test_usage_is_plotted(browser: Browser, served: Served, ids: dict[str, str]) -> None:
    with tab(browser, served.url) as shown:
        page = shown.page
        page.goto("/console/usage")
        page.locator(".plot canvas").wait_for()
        page.get_by_label("Plotted, by day").select_option("Requests")
        page.locator(".u-legend").get_by_text("Requests").wait_for()
        page.get_by_label("By", exact=True).select_option("agent_id")
        page.get_by_text("<b>crew</b>").wait_for()
        page.locator(".plot canvas").wait_for()
        assert page.get_by_label("Plotted, by day").input_value() == "Requests"


def test_a_second_click_sends_nothing_again(browser: Browser, served: Served) -> None:
    with tab(browser, served.url) as shown:
        page = shown.page
        page.goto("/console/owners/new")
        name = f"twice {time.monotonic_ns()}"
        page.get_by_label("Name").fill(name)
        page.get_by_role("button", name="Make the owner").dblclick()
        page.get_by_text("The owner is made.").wait_for()
        page.goto("/console/owners?q=twice")
        assert "1–1 of 1 owners" in page.content()
