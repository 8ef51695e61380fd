"""One request's way onto an engine, and onto its replacement where that ends before an answer."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from engines.base import Engine, EngineDead, EngineHung, EngineOverloaded
from engines.fleet.deaths import Deaths
from engines.fleet.fleet import Fleet, Lease
from engines.fleet.replicas import no_prefixes
from engines.fleet.routing import Prefixes
from server.fairness.gate import EngineLeft

Result = TypeVar("Result")


async def on_an_engine(
    fleet: Fleet,
    deaths: Deaths,
    deadline: float,
    work: Callable[[Engine], Awaitable[Result]],
    may_start_again: Callable[[], bool],
    prefixes: Callable[[], Prefixes] = no_prefixes,
) -> Result:
    """`work` on an engine of `deaths.alias`, of several replicas one that knows `prefixes`; once
    more where that engine dies or hangs, or is full while a replica is not, and `may_start_again`.
    Raises RequestKillsEngines after the second death, and what the lease raises."""
    while True:
        lease = fleet.lease(deaths.alias, deadline, prefixes)
        try:
            return await _on_one_with_room(lease, work, may_start_again)
        except EngineLeft:  # it only waited for it
            if not may_start_again():
                raise
        except (EngineDead, EngineHung) as error:
            deaths.count(error)
            if not may_start_again():
                raise


async def _on_one_with_room(
    lease: Lease,
    work: Callable[[Engine], Awaitable[Result]],
    may_start_again: Callable[[], bool],
) -> Result:
    """A full engine refuses a request before its first token; each replica is asked once."""
    while True:
        try:
            async with lease as engine:
                return await work(engine)
        except EngineOverloaded:
            if not (lease.has_another and may_start_again()):
                raise
