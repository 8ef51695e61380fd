"""What every running request shares: its state, and how events from outside end or hasten it."""

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, Generic, TypeVar

from server.http.exchange import Exchange
from server.requests.live import LiveRun
from server.requests.outcomes import Cut
from server.requests.run_state import TABLE, Action, Event, State
from server.requests.supervisor import Supervisor
from server.requests.times import Times

Outcome = TypeVar("Outcome")

STUCK_S = 5.0
"""So long after a cut, an engine has ended its part and a client has taken what waits for it."""


class RequestRun(Generic[Outcome]):
    """One of them; run_state has the table. Subclasses do the work, and say what aborts it."""

    __slots__ = (
        "_cut_at",
        "_side_tasks",
        "_task",
        "alias",
        "exchange",
        "owner",
        "sequences",
        "state",
        "times",
        "why",
    )

    def __init__(self, exchange: Exchange, alias: str, owner: str, sequences: int = 1) -> None:
        self.exchange = exchange
        self.alias, self.owner = alias, owner
        self.sequences = sequences
        """How many are generated at once, for its model's queue."""
        self.state = State.WAITING
        self.times = Times()
        self.why: Cut | None = None
        self._cut_at = 0.0
        self._task: asyncio.Task[Any] | None = None
        self._side_tasks: set[asyncio.Task[None]] = set()

    async def run(self, supervisor: Supervisor) -> None:
        """Work, record, and answer. Raises only when cancelled from outside."""
        self._task = asyncio.current_task()
        supervisor.add(self)
        self.exchange.watch_disconnect(lambda: self.cut("client_left"))
        try:
            outcome = await self._attempt()
            self.on(Event.SETTLE)
            outcome = await self._recorded(outcome)
            self.times.is_settled()
            self.on(Event.ANSWER)
            await self._answer(outcome)
        finally:
            self.on(Event.OVER)
            self.exchange.unwatch()
            supervisor.remove(self)

    async def _attempt(self) -> Outcome:
        """The work, and its end in the record; never raises."""
        raise NotImplementedError

    async def _recorded(self, outcome: Outcome) -> Outcome:
        """Close the record first: nothing is answered unbilled."""
        raise NotImplementedError

    async def _answer(self, outcome: Outcome) -> None:
        """Let the client have its end."""
        raise NotImplementedError

    def live(self) -> LiveRun:
        """As it stands now."""
        return LiveRun(waits_since=self.times.waits_since)

    def tick(self, now: float) -> None:
        """See what time does to it: which events are due."""
        raise NotImplementedError

    def cut(self, why: Cut) -> None:
        """End it: abort a generation, so that what it made is billed, or stop waiting for one."""
        self.on(Event.CUT, why)

    def on(self, event: Event, why: Cut | None = None) -> None:
        """Go on to the event's state, and do what the table says."""
        step = TABLE[event][self.state]
        self.state = step.state
        for action in step.actions:
            self._do(action, why)

    def _do(self, action: Action, why: Cut | None) -> None:
        match action:
            case Action.NOTE:
                self._note(why)
            case Action.CANCEL:
                self._cancel()
            case Action.ABORT:
                self.abort()
            case Action.DROP:
                self.exchange.drop()
            case Action.KEEP_ALIVE:
                self.keep_alive()
            case Action.PROGRESS:
                self.note_progress()

    def _note(self, why: Cut | None) -> None:
        if self.why is None:
            self.why, self._cut_at = why, time.monotonic()

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def abort(self) -> None:
        """Tell the engine to end what it generates."""

    def keep_alive(self) -> None:
        """Say something to a client that waits."""

    def note_progress(self) -> None:
        """Tell the ledger how far it got."""

    def begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Let a small work run beside the request's own task."""
        task = asyncio.ensure_future(work)
        self._side_tasks.add(task)
        task.add_done_callback(self._side_tasks.discard)
        return task

    def cancelled(self) -> Cut:
        """The task was cancelled: by a cut, then that is done with; else the server stops."""
        if self.why is None:
            self.why = "shut_down"
        elif self._task is not None:
            self._task.uncancel()
        return self.why
