"""`fjord serve` on an engine that heeds no abort, ends no stream and never finishes its stop."""

import asyncio
from collections.abc import Callable
from typing import Any

import server.serve
from engines.scripted import ScriptedEngine
from engines.spec import EngineSpec
from server.cli import main


class Stubborn(ScriptedEngine):
    async def abort(self, request_id: str) -> None:
        pass

    async def stop(self) -> None:
        await asyncio.Event().wait()


def build_stubborn(*_: Any) -> Callable[[EngineSpec], Stubborn]:
    return Stubborn


if __name__ == "__main__":
    vars(server.serve)["build_engine"] = build_stubborn
    main()
