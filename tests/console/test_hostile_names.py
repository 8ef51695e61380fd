"""Names that look like markup, like addresses, like nothing: shown as text; their links work."""

from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urljoin

import httpx
import pytest

from tests.support.admin_site import AdminSite, admin_site
from tests.support.given_session import GivenSessions
from tests.support.html_forms import SeenPage

pytestmark = pytest.mark.anyio

NAMES = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'; DROP TABLE keys; --",
    "{{ 7 * 7 }}",
    "a/b?c#d&e=f%2F",
    "..",
    ".",
    "new",
    "by-name",
    " ",
    "w" * 200,
    "\u202eright to left",
    "שלום",
    "line\nend\ttab",
    "😀 é",
)
ROOMS = ("keys", "owners", "members", "audit", "usage", "requests")


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def site(tmp_path: Path, name: str) -> AsyncIterator[AdminSite]:
    """With an owner, a member and a key of that name."""
    async with admin_site(tmp_path, GivenSessions()) as site:
        owner = await site.ask("POST", "/admin/v1/owners", 201, json={"name": name})
        of = {"name": name, "owner": owner["owner_id"]}
        member = await site.ask("POST", "/admin/v1/members", 201, json=of)
        key = {**of, "member": member["member_id"], "models": [name]}
        await site.ask("POST", "/admin/v1/keys", 201, json=key)
        yield site


async def test_all_that_a_page_leads_to_is_there_and_nothing_is_markup(
    site: AdminSite, name: str
) -> None:
    waiting, seen, shown = [f"/console/{room}" for room in ROOMS], set[str](), 0
    rooms = tuple(waiting)
    while waiting:
        path = waiting.pop().partition("#")[0]
        if path in seen or not path.startswith(rooms) or "export" in path:
            continue
        seen.add(path)
        answer = await site.client.get(path, follow_redirects=True)
        assert answer.status_code == 200, path
        page = checked(answer)
        shown += (name.strip() or "(blank)") in page.text
        waiting += [urljoin(str(answer.url.raw_path.decode()), link) for link in page.links]
    assert len(seen) > 20
    assert shown > 5


def checked(answer: httpx.Response) -> SeenPage:
    assert "<img" not in answer.text
    assert "<script>" not in answer.text
    assert answer.text.count("<h1") == 1
    return SeenPage(answer)


async def test_a_form_that_nobody_typed_in_changes_nothing(site: AdminSite) -> None:
    for path in ("keys", "owners", "members"):
        listed = await site.ask("GET", f"/admin/v1/{path}")
        for before in listed:
            one = before.get("key_id") or before.get("member_id") or before["owner_id"]
            edit = f"/console/{path}/{one}/edit"
            form = SeenPage(await site.client.get(edit)).forms[edit]
            values = {
                name: text if name == "models" else text.replace("\n", "")
                for name, text in form.values.items()
            }
            assert (await site.client.post(edit, data=values)).status_code == 303
        assert await site.ask("GET", f"/admin/v1/{path}") == listed
