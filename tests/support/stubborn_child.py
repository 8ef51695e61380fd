"""`fjord serve` on an engine that heeds no abort, ends no stream and never finishes its stop."""

import asyncio

import server.cli.serve
from engines.base import Engine
from engines.build import EngineBuilder
from engines.registry.spec import EngineSpec
from engines.testing.scripted import ScriptedEngine
from server.cli.main import main


class Stubborn(ScriptedEngine):
    async def abort(self, request_id: str) -> None:
        pass

    async def stop(self) -> None:
        await asyncio.Event().wait()


class StubbornBuilder(EngineBuilder):
    async def __call__(self, spec: EngineSpec) -> Engine:
        return Stubborn(spec)


if __name__ == "__main__":
    vars(server.cli.serve)["EngineBuilder"] = StubbornBuilder
    main()
