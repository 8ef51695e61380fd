"""One request's way onto an engine, and onto its replacement where that ends before an answer."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from engines.base import Engine, EngineDead, EngineHung
from engines.fleet.deaths import Deaths
from engines.fleet.fleet import Fleet

Result = TypeVar("Result")


async def on_an_engine(
    fleet: Fleet,
    deaths: Deaths,
    deadline: float,
    work: Callable[[Engine], Awaitable[Result]],
    may_start_again: Callable[[], bool],
) -> Result:
    """`work` on an engine of `deaths.alias`; once more where that engine dies or hangs and
    `may_start_again`. Raises RequestKillsEngines after the second, and what the lease raises."""
    while True:
        try:
            async with fleet.lease(deaths.alias, deadline) as engine:
                return await work(engine)
        except (EngineDead, EngineHung) as error:
            deaths.count(error)
            if not may_start_again():
                raise
