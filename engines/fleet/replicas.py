"""The equal engines that serve the same aliases: who of them loads first, who takes a request."""

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, Protocol, TypeVar

from engines.fleet.routing import Prefixes, ReplicaLoad, WarmPrefixes, choose
from engines.fleet.view import State
from engines.registry.spec import EngineSpec

_ON_THE_WAY = ("starting", "fetching", "cold", "stopping", "failed")
"""Those nearest to serving first."""


class Serving(Protocol):
    """What is asked of an engine that takes requests."""

    @property
    def leases(self) -> int: ...
    @property
    def is_reluctant(self) -> bool: ...


class Replica(Protocol):
    """What is asked of one of them: a ManagedEngine."""

    @property
    def spec(self) -> EngineSpec: ...
    @property
    def state(self) -> State: ...
    @property
    def running(self) -> Serving | None: ...
    @property
    def current(self) -> Serving | None: ...
    @property
    def is_broken(self) -> bool: ...
    @property
    def is_unwanted(self) -> bool: ...
    @property
    def is_fetched(self) -> bool: ...
    @property
    def is_hopeless(self) -> bool: ...
    @property
    def is_failing(self) -> bool: ...
    @property
    def is_as_wanted(self) -> bool: ...
    @property
    def retry_at(self) -> float: ...
    @property
    def loads(self) -> int: ...
    def raise_if_failed(self, alias: str) -> None: ...


Member = TypeVar("Member", bound=Replica)


class Wait(NamedTuple):
    """A request's wait for an engine; the one whose turn comes first is the least."""

    is_patient: bool
    """It yields to everybody who is not."""
    since: float
    """By the monotonic clock."""


def no_prefixes() -> Prefixes:
    return ()


@dataclass(slots=True, eq=False)
class Replicas(Generic[Member]):
    """`members` by their number, one where the registry asks for no more. Those who wait, wait for
    any of them."""

    members: tuple[Member, ...] = ()
    waiters: dict[asyncio.Future[None], Wait] = field(default_factory=dict)
    """Requests that wait."""
    warm: WarmPrefixes = field(default_factory=WarmPrefixes)
    _choices: int = 0
    _chosen_at: dict[int, int] = field(default_factory=dict)

    def wake(self) -> None:
        """Let everybody who waits look again."""
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_result(None)

    @property
    def first(self) -> Member:
        """The one that serves or comes next: what is asked of the alias is asked of it, and the
        others follow where there is room."""
        serving = (each for each in self.members if each.running is not None)
        return next(serving, None) or min(self.members, key=_nearness)

    @property
    def is_as_wanted(self) -> bool:
        """Whether one serves, where the registry says so."""
        return any(e.current for e in self.members) or all(e.is_as_wanted for e in self.members)

    def chosen(
        self,
        prefixes: Callable[[], Prefixes] = no_prefixes,
        but: Collection[int] = (),
    ) -> Member | None:
        """Who takes a request, and is noted as having read its beginning; None: none can now.
        `prefixes` is asked where there is a choice. `but`: replicas that refused it."""
        if len(self.members) == 1:
            only = self.members[0]
            return only if only.running is not None and not but else None
        return self._of_several(prefixes(), but)

    def is_another_free(self, but: Collection[int]) -> bool:
        """Whether one serves that is not among `but`."""
        return any(e.running is not None and e.spec.replica not in but for e in self.members)

    def _of_several(self, prefixes: Prefixes, but: Collection[int]) -> Member | None:
        able = [self._load(e) for e in self.members if e.spec.replica not in but]
        known = {e.spec.replica: e for e in self.members}
        loads = {number: e.loads for number, e in known.items()}
        replica = choose(able, self.warm.warm(prefixes, loads))
        if replica is None:
            return None
        self._choices += 1
        self._chosen_at[replica] = self._choices
        self.warm.note(prefixes, replica, loads[replica])
        return known[replica]

    def _load(self, managed: Replica) -> ReplicaLoad:
        running, replica = managed.running, managed.spec.replica
        return ReplicaLoad(
            replica=replica,
            is_reluctant=running is not None and running.is_reluctant,
            requests=running.leases if running else 0,
            takes_requests=running is not None,
            chosen_at=self._chosen_at.get(replica, 0),
        )

    def raise_if_failed(self, alias: str) -> None:
        """Raises what one of them raises, where none may still come."""
        if all(each.is_failing for each in self.members):
            self.first.raise_if_failed(alias)


def _nearness(managed: Replica) -> tuple[bool, bool, float, float, int]:
    return (
        managed.current is None or managed.is_unwanted,
        managed.is_hopeless,
        _steps_left(managed),
        managed.retry_at,
        managed.spec.replica,
    )


def _steps_left(managed: Replica) -> float:
    is_ending = managed.is_broken or managed.is_unwanted
    state = "stopping" if is_ending else managed.state
    if state == "fetching" and managed.is_fetched:
        return 0.5
    return _ON_THE_WAY.index(state) if state in _ON_THE_WAY else -1
