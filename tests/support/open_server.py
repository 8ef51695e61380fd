"""A whole server without a socket, whose parts are at hand."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from engines.fleet.fleet import Fleet
from engines.registry.spec import EngineSpec, ModelSpec
from engines.testing.scripted import ScriptedEngine
from server.accounts.auth import KeyRing
from server.api.services import Services
from server.app import create_app
from server.ledger.ledger import Ledger
from server.settings import Settings
from tests.support.serving import registry_of, services_of


@dataclass
class Site:
    client: httpx.AsyncClient
    fleet: Fleet
    ledger: Ledger
    services: Services

    async def ready(self) -> httpx.Response:
        return await self.client.get("/ready")

    async def loaded(self) -> None:
        async with self.fleet.lease("a"):
            pass


@asynccontextmanager
async def site(
    data_dir: Path,
    *,
    preload: bool = True,
    engine: type[ScriptedEngine] = ScriptedEngine,
    **args: Any,
) -> AsyncIterator[Site]:
    spec = EngineSpec(kind="scripted", source="echo", args=args)
    models = [
        ModelSpec(
            alias="a",
            engine=spec,
            context_tokens=9,
            output_tokens=9,
            load="start" if preload else "demand",
        ),
        ModelSpec(alias="b", engine=spec, context_tokens=9, output_tokens=9),
    ]
    registry = registry_of(*models)
    fleet, ledger = Fleet(models, engine), Ledger.open(data_dir, node="n")
    app = create_app(Settings(data_dir=data_dir), registry, fleet, ledger, KeyRing())
    await ledger.start()
    await fleet.start()
    try:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://fjord") as client:
            yield Site(client, fleet, ledger, services_of(app))
    finally:
        await fleet.stop()
        await ledger.stop()
