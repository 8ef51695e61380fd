"""Before one engine: requests pass while it has room, else they wait in the fair order."""

import asyncio
import math
from collections import Counter
from typing import NamedTuple, TypeAlias

from engines.base import EngineUnavailable
from engines.seats import HasSeats
from server.fairness.estimates import Estimates
from server.fairness.fair_queue import FairQueue
from server.fairness.turn import FairTurn, WeightOf

_MARGIN = 8

Waiting: TypeAlias = Counter[tuple[str, str]]
"""Requests that wait, by alias and class."""


class TurnPlace(NamedTuple):
    """Of a request that waits; 1 is next."""

    position: int
    """Among everybody's, as far as one can tell: it changes as others come and end."""
    owner_position: int
    """Among its owner's."""


class EngineLeft(EngineUnavailable):
    """The engine that it waited for ended; another may be there soon."""


class Gate:
    """Of one engine's life. Belongs to the event loop.

    A few sequences more than the engine has seats are let in, one eighth, so that its next step
    finds them there; in it they go by priority, so whoever comes last may still be first. It is
    full as well while so many of those in it wait for room in its cache.
    """

    def __init__(self, engine: object, weight_of: WeightOf, waiting: Waiting) -> None:
        self.estimates = Estimates()
        self._engine = engine if isinstance(engine, HasSeats) else None
        seats = self._engine.seats if self._engine is not None else math.inf
        self._margin = 1 if seats == math.inf else max(1, seats // _MARGIN)
        self._most = seats + self._margin
        self._ordinary, self._batch = FairQueue(weight_of), FairQueue(weight_of)
        self._inside = 0
        """Sequences in the engine."""
        self._waiting = waiting
        self._waiters: dict[FairTurn, str] = {}
        """Each with its alias, for the count."""

    def enter(self, turn: FairTurn, alias: str) -> None:
        """It may go on once its `waiter` is done: at once, where it has none. Ends with `leave`."""
        queue = self._queue(turn)
        if self._waiters:
            self._let_next_in()  # its cache may have room meanwhile
        if (queue is self._batch and len(self._ordinary)) or not self._has_room(queue, turn):
            turn.waiter = asyncio.get_running_loop().create_future()
            queue.put(turn)
            self._waiters[turn] = alias
            self._waiting[alias, turn.service_class] += 1
        else:
            queue.admit(turn)
            self._let_in(turn)

    def leave(self, turn: FairTurn, tokens: float) -> None:
        """It is over, or waits no more; in the engine it has used so many tokens."""
        if turn.is_inside:
            self._inside -= turn.sequences
            turn.is_inside = False
            self._queue(turn).settle(turn, tokens)
        elif turn in self._waiters:
            self._queue(turn).remove(turn)
            self._no_longer_waits(turn)
        if self._waiters:
            self._let_next_in()

    def end(self) -> None:
        """The engine has ended: whoever waits goes elsewhere. Raises EngineLeft there."""
        for turn in tuple(self._waiters):
            self._queue(turn).remove(turn)
            self._no_longer_waits(turn)
            if turn.waiter is not None and not turn.waiter.done():
                turn.waiter.set_exception(EngineLeft("The model's engine is being restarted.", 15))

    def place(self, turn: FairTurn) -> TurnPlace | None:
        """None: it does not wait."""
        if turn not in self._waiters:
            return None
        place = TurnPlace(*self._queue(turn).place(turn))
        if turn.service_class != "batch":
            return place
        return place._replace(position=place.position + len(self._ordinary))

    def _queue(self, turn: FairTurn) -> FairQueue:
        return self._batch if turn.service_class == "batch" else self._ordinary

    def _has_room(self, queue: FairQueue, turn: FairTurn | None = None) -> bool:
        """For that turn; None: for the queue's next one. Where the cache is full, who has nothing
        in the engine goes before what waits there, and the others behind it in any case."""
        if self._inside >= self._most:
            return False
        return not self._is_cache_full() or queue.is_first_inside(turn)

    def _is_cache_full(self) -> bool:
        if self._engine is None or self._inside < self._margin:
            return False
        return self._engine.waiting_for_cache(self._inside) >= self._margin

    def _let_in(self, turn: FairTurn) -> None:
        turn.is_inside = True
        self._inside += turn.sequences

    def _let_next_in(self) -> None:
        while self._waiters and self._has_room(queue := self._ordinary or self._batch):
            turn = queue.take()
            self._no_longer_waits(turn)
            self._let_in(turn)
            if turn.waiter is not None and not turn.waiter.done():  # else it is about to leave
                turn.waiter.set_result(None)

    def _no_longer_waits(self, turn: FairTurn) -> None:
        alias = self._waiters.pop(turn)
        self._waiting[alias, turn.service_class] -= 1
