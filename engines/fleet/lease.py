"""A request's hold on an engine, and its wait for one."""

import asyncio
import math
import time
from collections.abc import Callable
from types import TracebackType
from typing import Protocol

from engines.base import (
    Engine,
    EngineBehindDead,
    EngineDead,
    EngineHung,
    EngineLoadTimeout,
    EngineOverloaded,
    EngineUnavailable,
)
from engines.fleet.engine_state import ManagedEngine
from engines.fleet.outlook import Outlook
from engines.fleet.replicas import Wait, no_prefixes
from engines.fleet.routing import Prefixes
from engines.fleet.running import Running

_RETRY_S = (1.0, 10.0, 3600.0)
"""When a client that waited long enough may ask again: at least, where nobody can say, at most."""


class Lender(Protocol):
    """What a lease asks of the fleet."""

    is_short: bool
    """Somebody waits for memory, so an engine that falls idle is news."""
    load_timeout_s: float

    @property
    def is_stopped(self) -> bool: ...

    def outlook(self, alias: str) -> Outlook: ...

    def engine_of(self, alias: str) -> ManagedEngine: ...

    def raise_if_pinned_out(self, alias: str) -> None: ...

    def broke(self, managed: ManagedEngine, running: Running, reason: str) -> None: ...

    def look_again(self) -> None: ...


class Lease:
    """`async with fleet.lease(alias) as engine`: the engine is kept for the block's time.

    Entering costs no suspension while the engine is ready. An EngineDead or EngineHung that leaves
    the block is taken as news of the engine, and starts its replacement at once. Of several
    replicas it holds one: entered again after an EngineOverloaded, another. A patient one yields:
    its engine leaves for others as if it were idle, and is loaded after theirs.
    """

    __slots__ = (
        "_alias",
        "_deadline",
        "_fleet",
        "_full",
        "_is_patient",
        "_managed",
        "_prefixes",
        "_running",
    )

    def __init__(
        self,
        fleet: "Lender",
        managed: ManagedEngine,
        alias: str,
        deadline: float = math.inf,
        prefixes: Callable[[], Prefixes] = no_prefixes,
        *,
        is_patient: bool = False,
    ) -> None:
        self._fleet, self._managed, self._alias = fleet, managed, alias
        self._deadline, self._prefixes, self._is_patient = deadline, prefixes, is_patient
        self._running: Running | None = None
        self._full: set[int] = set()
        """Replicas that had no room for it."""

    @property
    def has_another(self) -> bool:
        """Whether there is another replica than those that had no room."""
        return self._managed.replicas.is_another_free(self._full)

    async def __aenter__(self) -> Engine:
        if self._managed.closed:
            self._managed.raise_if_closed(self._alias)
        running = self._chosen() or await self._waited()
        running.leases += 1
        running.patient_leases += self._is_patient
        self._running = running
        return running.engine

    def _chosen(self) -> Running | None:
        replicas = self._managed.replicas
        chosen = replicas.chosen(self._prefixes, self._full)
        if chosen is None:
            return None
        self._managed = chosen
        return chosen.running

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        running = self._running
        if running is None:
            return
        running.leases -= 1
        running.patient_leases -= self._is_patient
        if self._is_patient:
            running.patient_used_at = time.monotonic()
        else:
            running.used_at = time.monotonic()
        is_idle = running.leases == running.patient_leases
        if is_idle and (self._fleet.is_short or self._managed.is_unwanted):
            self._fleet.look_again()
        if isinstance(error, EngineBehindDead):
            return
        if isinstance(error, EngineDead | EngineHung):
            self._fleet.broke(self._managed, running, str(error))
        elif isinstance(error, EngineOverloaded):
            self._full.add(self._managed.spec.replica)

    async def _waited(self) -> Running:
        since = time.monotonic()
        limit_s = min(self._fleet.load_timeout_s, self._deadline - since)
        try:
            async with asyncio.timeout(limit_s):
                while (running := self._chosen()) is None:
                    self._raise_if_refused()
                    await self._next_change(since)
                    self._managed = self._fleet.engine_of(self._alias)
                return running
        except TimeoutError:
            raise self._too_late(max(0.0, limit_s)) from None

    def _raise_if_refused(self) -> None:
        if self._fleet.is_stopped:
            raise EngineUnavailable("The server is shutting down.")
        self._managed.raise_if_removed(self._alias)
        self._managed.raise_if_closed(self._alias)
        self._managed.replicas.raise_if_failed(self._alias)
        self._fleet.raise_if_pinned_out(self._alias)

    async def _next_change(self, since: float) -> None:
        """`since`: when it began to wait; whoever is woken and waits on keeps its place."""
        waiters = self._managed.replicas.waiters
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiters[waiter] = Wait(self._is_patient, since)
        self._fleet.look_again()
        try:
            await waiter
        finally:
            waiters.pop(waiter, None)
            if self._fleet.is_short:
                self._fleet.look_again()

    def _too_late(self, waited_s: float) -> EngineLoadTimeout:
        found = self._fleet.outlook(self._alias)
        least_s, unknown_s, most_s = _RETRY_S
        eta_s = unknown_s if found.eta_s is None else found.eta_s
        message = (
            f"Model {self._alias} did not become ready within {round(waited_s, 2):g} s; "
            f"its engine is {self._managed.replicas.first.state}."
        )
        return EngineLoadTimeout(message, min(most_s, max(least_s, eta_s)), found.facts())
