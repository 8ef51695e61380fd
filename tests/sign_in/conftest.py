"""A site that people sign in to: with passwords, or with an issuer."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from engines.registry.access import AccessEntry
from tests.support.admin_site import AdminSite, admin_site
from tests.support.fake_issuer import CLIENT, FakeIssuer, fake_issuer
from tests.support.signing_in import RULES


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[AdminSite]:
    async with admin_site(tmp_path) as found:
        yield found


@pytest.fixture
def issuer() -> Iterator[FakeIssuer]:
    with fake_issuer() as found:
        found.claims = {"name": "Ada Lovelace", "email": "ada@acme.example"}
        found.claims |= {"groups": ["acme-devs"]}
        yield found


@pytest.fixture
async def staffed(tmp_path: Path, issuer: FakeIssuer) -> AsyncIterator[AdminSite]:
    entry = {"name": "Staff", "issuer": issuer.url, "client_id": CLIENT, "rules": RULES}
    access = AccessEntry.model_validate({"issuers": [entry]})
    async with admin_site(tmp_path, access=access) as found:
        yield found
