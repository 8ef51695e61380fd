"""uvicorn's loop beside a server at rest: it sleeps until it has something to do."""

import asyncio
from typing import Any, cast

import pytest
import uvicorn

from server.cli import drained_server
from server.cli.drained_server import DrainedServer


class Watch:
    """A Supervisor with nothing in flight."""

    async def drain(self, *seconds: float) -> None: ...


class Ticking(DrainedServer):
    ticks = 0

    async def on_tick(self, counter: int) -> bool:
        self.ticks += 1
        return await super().on_tick(counter)


def test_it_ends_when_told_and_not_at_its_next_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drained_server, "DATE_S", 3600.0)

    async def work() -> None:
        none: Any = None
        server = Ticking(uvicorn.Config(none), cast(Any, Watch()), none, 1.0, none, [])
        loop = asyncio.create_task(server.main_loop())
        await asyncio.sleep(0)
        assert server.ticks == 1
        assert server.server_state.default_headers[0][0] == b"date"
        await server._drain()
        async with asyncio.timeout(20):
            await loop
        assert server.ticks == 2

    asyncio.run(work())
