"""What tests of pages share: a browser for a file, the admin API with a session that is given."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.admin_site import AdminSite, admin_site
from tests.support.given_session import GivenSessions
from tests.support.html_forms import Visitor

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[AdminSite]:
    async with admin_site(tmp_path, GivenSessions()) as site:
        yield site


@pytest.fixture
def visitor(site: AdminSite) -> Visitor:
    return Visitor(site.client)


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    from tests.support.browser import chromium

    with chromium() as found:
        yield found
