"""The admin API over a running ledger, in this process."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx

from engines.fleet.fleet import Fleet
from engines.registry.access import AccessEntry
from engines.registry.seller import SellerEntry
from engines.testing.scripted import ScriptedEngine
from server.accounts.auth import KeyRing
from server.app import create_app
from server.console.session import Sessions
from server.ledger.database import Database
from server.ledger.key_store import KeyStore
from server.ledger.keys import Key
from server.ledger.ledger import Ledger
from server.settings import Settings
from tests.support.nodes import until
from tests.support.serving import registry_of, scripted


@dataclass
class AdminSite:
    """The admin API over a running ledger."""

    client: httpx.AsyncClient
    ledger: Ledger
    llm_key: str
    app: Any

    async def ask(self, method: str, path: str, status: int = 200, **options: Any) -> Any:
        answer = await self.client.request(method, path, **options)
        assert answer.status_code == status, answer.text
        return answer.json()


@asynccontextmanager
async def admin_site(
    data_dir: Path,
    sessions: Sessions | None = None,
    prepare: Callable[[Database], object] = lambda _: None,
    ledger_url: str | None = None,
    access: AccessEntry | None = None,
    seller: SellerEntry | None = None,
) -> AsyncIterator[AdminSite]:
    """With an admin key, and an LLM key of acme's. `sessions`: who has signed in to the console;
    `prepare` makes more, before the start; `access`: issuers."""
    ledger, ring = Ledger.open(data_dir, node="n", ledger_url=ledger_url), KeyRing()
    with closing(ledger.open_books()) as books:
        store = KeyStore(books)
        _, admin = store.create(Key(key_id="", name="root", owner="us", service="admin"))
        _, llm = store.create(Key(key_id="", name="app", owner="acme"))
        prepare(books)
    await ledger.start(ring)
    await until(lambda: bool(ring.all_keys()))
    registry = replace(registry_of(scripted()), seller=seller, access=access or AccessEntry())
    fleet = Fleet(registry.models.values(), ScriptedEngine)
    settings = Settings(data_dir=data_dir)
    app = create_app(settings, registry, fleet, ledger, ring, sessions=sessions)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://fjord", headers={"X-API-Key": admin}
    ) as client:
        yield AdminSite(client, ledger, llm, app)
    await ledger.stop()
