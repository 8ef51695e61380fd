"""What all pages share: the door, the headers, the files beside them, the token of forms."""

import hashlib
import re
from pathlib import Path

import pytest

from server.console import assets
from tests.support.admin_site import admin_site
from tests.support.given_session import GivenSessions


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
