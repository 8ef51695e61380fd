"""`fjord serve` on an engine that heeds no abort, ends no stream and never finishes its stop."""

import asyncio
from collections.abc import Callable
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


def build_stubborn(*_: Any) -> Callable[[EngineSpec], Stubborn]:
    return Stubborn


if __name__ == "__main__":
    vars(server.cli.serve)["build_engine"] = build_stubborn
    main()
