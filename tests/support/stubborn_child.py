"""`fjord serve` on an engine that heeds no abort, ends no stream and never finishes its stop."""

import asyncio
from typing import Any

import server.cli.serve
from engines.registry.spec import EngineSpec
from engines.testing.scripted import ScriptedEngine
from server.cli.main import main


class Stubborn(ScriptedEngine):
    async def abort(self, request_id: str) -> None:
        pass

    async def stop(self) -> None:
        await asyncio.Event().wait()


class StubbornBuilder:
    def __init__(self, *_: Any) -> None:
        pass

    def __call__(self, spec: EngineSpec) -> Stubborn:
        return Stubborn(spec)

    def weights_bytes(self, spec: EngineSpec) -> int:
        return 0


if __name__ == "__main__":
    vars(server.cli.serve)["EngineBuilder"] = StubbornBuilder
    main()
