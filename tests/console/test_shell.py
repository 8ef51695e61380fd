"""What all pages share: the door, the headers, the files beside them, the token of forms."""

import hashlib
import re
from pathlib import Path

import pytest

from server.accounts.principal import Principal
from server.console import assets
from tests.support.admin_site import admin_site
from tests.support.given_session import ADMIN, GivenSessions

HTML = "text/html; charset=utf-8"


@pytest.mark.anyio
async def test_a_page_says_what_runs_and_forbids_all_that_is_not_its_own(tmp_path: Path) -> None:
    async with admin_site(tmp_path, GivenSessions()) as site:
        page = await site.client.get("/console")
        assert page.status_code == 200
        assert "mixtral-8x7b" in page.text
        assert "unsafe" not in page.headers["content-security-policy"]
        assert page.headers["cache-control"] == "no-store"
        for url in re.findall(r'(?:src|href)="(/console/static/[^"]+)"', page.text):
            file = await site.client.get(url)
            assert "immutable" in file.headers["cache-control"]


@pytest.mark.anyio
async def test_who_has_not_signed_in_is_led_to_the_door(tmp_path: Path) -> None:
    async with admin_site(tmp_path, GivenSessions(None)) as site:
        page = await site.client.get("/console?a=b")
        assert (page.status_code, page.headers["location"]) == (
            303,
            "/console/sign-in?next=%2Fconsole%3Fa%3Db",
        )
        fragment = await site.client.get("/console", headers={"HX-Request": "true"})
        assert (fragment.status_code, fragment.headers["hx-redirect"]) == (401, "/console/sign-in")


def test_other_peoples_files_are_as_they_published_them() -> None:
    folder = assets.STATIC / "vendor"
    sums = dict(line.split()[::-1] for line in (folder / "SHA256SUMS").read_text().splitlines())
    found = {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in folder.iterdir()
        if file.name not in ("SHA256SUMS", "LICENSES")
    }
    assert found == sums


@pytest.mark.anyio
@pytest.mark.parametrize("principal", [ADMIN, None])
async def test_what_is_no_page_is_a_page_that_says_so(
    tmp_path: Path, principal: Principal | None
) -> None:
    async with admin_site(tmp_path, GivenSessions(principal)) as site:
        for path in ("/console/nothing", "/console/", "/console/keys/a/b/c", "/console/<b>%00"):
            page = await site.client.get(path)
            assert (page.status_code, page.headers["content-type"]) == (404, HTML), path
            assert page.headers["content-security-policy"].startswith("default-src 'none'")
            assert "Unknown path: /console/" in page.text
            assert "<b>" not in page.text
            assert ("Sign out" in page.text) == (principal is not None)
        wrong = await site.client.put("/console/keys")
        assert (wrong.status_code, wrong.headers["allow"]) == (405, "GET, HEAD")
        assert wrong.headers["content-type"] == HTML
        assert (await site.client.post("/console/nothing")).status_code == 404
        assert (await site.client.get("/consoles")).json()["error"]["code"] == "NOT_FOUND"


@pytest.mark.anyio
async def test_what_is_not_there_behind_a_page_is_told_on_a_page(tmp_path: Path) -> None:
    async with admin_site(tmp_path, GivenSessions()) as site:
        for path in (
            "keys/key_no",
            "owners/owner_no/edit",
            "members/no",
            "requests/no",
            "models/no",
        ):
            page = await site.client.get(f"/console/{path}")
            assert (page.status_code, page.headers["content-type"]) == (404, HTML), path
