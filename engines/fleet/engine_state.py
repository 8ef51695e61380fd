"""One engine of the fleet: its state, who waits for it, and how operators see it."""

import asyncio
import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from engines.base import Engine
from engines.fleet.decisions import EngineView, State
from engines.registry.spec import EngineSpec, ModelSpec

log = logging.getLogger("fjord.fleet")


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStatus:
    """One engine as operators see it. `since` is in Unix seconds."""

    key: str
    kind: str
    source: str
    aliases: tuple[str, ...]
    state: State
    since: float
    reason: str | None
    leases: int
    waiting: int
    restarts: int
    is_preloaded: bool


@dataclass(slots=True, eq=False)
class Running:
    """One ready engine and the requests on it. A restart makes a new one, so that a lease which
    outlives its engine cannot be counted on the next."""

    engine: Engine
    ready_at: float
    leases: int = 0


@dataclass(slots=True, eq=False)
class ManagedEngine:
    """What the fleet knows of one engine. Only its owner task changes it, but for `waiters`."""

    spec: EngineSpec
    aliases: tuple[str, ...]
    keep_ready: bool
    state: State = "cold"
    since: float = field(default_factory=time.time)
    reason: str | None = None
    engine: Engine | None = None
    """Built, and not yet known to be stopped."""
    running: Running | None = None
    """Set exactly while it is ready and not known to be broken."""
    is_fetched: bool = False
    """It is built, and waits for its turn to start."""
    task: asyncio.Task[None] | None = None
    """The one that fetches, starts, watches or stops it."""
    is_broken: bool = False
    is_replacement: bool = False
    """It was serving when it broke: it is started again without being asked, once."""
    failures: int = 0
    restarts: int = 0
    retry_at: float = 0.0
    waiters: dict[asyncio.Future[None], float] = field(default_factory=dict)
    """Requests that wait for it, and since when."""

    def wake(self) -> None:
        """Let everybody who waits look again."""
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_result(None)

    def become(self, state: State, reason: str | None = None) -> None:
        self.state, self.reason, self.since = state, reason, time.time()
        level = logging.WARNING if state == "failed" else logging.INFO
        log.log(level, "engine %s: %s%s", self.spec.key, state, f" ({reason})" if reason else "")

    def view(self) -> EngineView:
        return EngineView(
            key=self.spec.key,
            state=self.state,
            leases=self.running.leases if self.running else 0,
            waiting_since=min(self.waiters.values(), default=None),
            keep_ready=self.keep_ready or self.is_replacement,
            is_broken=self.is_broken,
            retry_at=self.retry_at,
            is_fetched=self.is_fetched,
        )

    def status(self) -> EngineStatus:
        return EngineStatus(
            key=self.spec.key,
            kind=self.spec.kind,
            source=self.spec.source,
            aliases=self.aliases,
            state="stopping" if self.is_broken else self.state,
            since=self.since,
            reason=self.reason,
            leases=self.running.leases if self.running else 0,
            waiting=len(self.waiters),
            restarts=self.restarts,
            is_preloaded=self.keep_ready,
        )


def shared_engines(models: Iterable[ModelSpec]) -> dict[str, ManagedEngine]:
    shared: dict[str, list[ModelSpec]] = {}
    for model in models:
        shared.setdefault(model.engine.key, []).append(model)
    return {
        key: ManagedEngine(
            spec=sharing[0].engine,
            aliases=tuple(model.alias for model in sharing),
            keep_ready=any(model.preload for model in sharing),
        )
        for key, sharing in shared.items()
    }
