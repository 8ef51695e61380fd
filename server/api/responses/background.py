"""Responses that run without their client: queued by key, cancelled, ended with the server."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from msgspec.structs import replace

from server.accounts.limits import Limiter
from server.api.responses.asked import asked
from server.api.responses.kept import KeptAnswer
from server.api.responses.key_lines import KeyLines
from server.errors import ApiError, to_api_error
from server.http.clientless import ClientlessExchange
from server.http.direct import DirectWriter
from server.http.exchange import EVENT_STREAM, Exchange
from server.ledger.records import Caller
from server.memory.memory import Memory
from server.requests.outcomes import cut_error
from server.requests.plan import Call
from server.requests.supervisor import Supervisor

log = logging.getLogger("fjord.memory")

BEAT_S: Final = 1.0
"""So often it says that it is alive, keeps its events, and looks whether it is to end."""
CANCEL_S: Final = 10.0
STOP_S: Final = 10.0
MOST_FOLLOWERS: Final = 100
"""Streams of events of one owner, told again or as they come."""


class _Discarding(DirectWriter):
    """A stream nobody listens to: its shape keeps each event."""

    __slots__ = ()

    def __init__(self) -> None:
        self.has_written = False

    def is_ready(self) -> bool:
        return True

    def write(self, chunk: bytes) -> None:
        """It is kept already."""

    def expect_end(self, length: int) -> None:
        """Nobody waits for it."""


class BackgroundExchange(ClientlessExchange):
    """Has no client; it leaves when the response is cancelled."""

    __slots__ = ("error", "leave")

    def __init__(self, request_id: str) -> None:
        super().__init__(request_id)
        self.error: ApiError | None = None
        self.leave: Callable[[], None] | None = None

    def watch_disconnect(self, left: Callable[[], None]) -> None:
        self.leave = left

    def unwatch(self) -> None:
        self.leave = None

    def is_silent(self, now: float, patience_s: float) -> bool:
        return False

    async def open_stream(self, chunk: bytes = b"", media_type: bytes = EVENT_STREAM) -> None:
        self.started, self.status, self.direct = True, 200, _Discarding()

    async def write(self, chunk: bytes, *, more: bool = True) -> None:
        """It is kept already."""

    async def fail(self, error: ApiError) -> None:
        self.error, self.status, self.code = error, error.status, error.code


class BackgroundRun:
    """One of them. Belongs to the event loop."""

    def __init__(self, call: Call, caller: Caller, answer: KeptAnswer) -> None:
        self.call, self.caller, self.answer = call, caller, answer
        self.exchange = BackgroundExchange(call.record.record_id)
        self.is_running = self.is_cancelled = False
        self.ended = asyncio.Event()
        """Nothing more is generated; its end may not be durable yet."""
        self.over = asyncio.Event()

    @property
    def response_id(self) -> str:
        return self.answer.response["id"]

    def cancel(self) -> None:
        self.is_cancelled = True
        if self.exchange.leave is not None:
            self.exchange.leave()


class BackgroundRunner:
    """All of this server. Belongs to the event loop."""

    def __init__(
        self,
        memory: Memory,
        limiter: Limiter,
        supervisor: Supervisor,
        timeout_s: float,
        current: Callable[[Caller], Caller],
        check: Callable[[str, Caller], object],
    ) -> None:
        """`current`: the key as it is by now; `check`: whether it may still use an alias. They
        raise what is told where it is no more, or may not."""
        self.memory, self._limiter, self._supervisor = memory, limiter, supervisor
        self._timeout_s, self._current, self._check = timeout_s, current, check
        self._runs: dict[str, BackgroundRun] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._lines = KeyLines()
        self._followers: Counter[str] = Counter()
        """By owner."""
        memory.running = lambda: tuple(self._runs)

    def find(self, response_id: str) -> BackgroundRun | None:
        """None: it is over, or another server's."""
        return self._runs.get(response_id)

    def of_owner(self, owner: str) -> list[BackgroundRun]:
        return [run for run in self._runs.values() if run.caller.owner == owner]

    @contextmanager
    def following(self, owner: str) -> Iterator[None]:
        """Around a stream of events, which holds none of its key's slots. Raises ApiError."""
        if self._followers[owner] >= MOST_FOLLOWERS:
            message = f"An owner may follow {MOST_FOLLOWERS} responses at once."
            raise ApiError.retry(429, "CONCURRENCY_LIMIT_EXCEEDED", message, 10)
        self._followers[owner] += 1
        try:
            yield
        finally:
            self._followers[owner] -= 1

    async def begin(self, run: BackgroundRun, work: Callable[[Exchange], Any]) -> None:
        """`work` generates on an exchange. Raises ApiError where it cannot be claimed."""
        answer = run.answer
        events = answer.queued()
        self._runs[run.response_id] = run
        self._lines.enter(run.caller.key_id, run)
        try:
            await asked(self._claim, answer, events)
        except BaseException:
            self._over(run)
            raise
        answer.log.drop(events)
        answer.part = 1
        task = asyncio.create_task(self._until_over(run, work), name=run.response_id)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _over(self, run: BackgroundRun) -> None:
        self._runs.pop(run.response_id, None)
        self._lines.leave(run.caller.key_id, run)

    def _claim(self, answer: KeptAnswer, events: bytes) -> None:
        """In a thread."""
        kept = replace(answer.keeping.kept(answer.response), status="queued")
        self.memory.background.claim(kept, events)

    async def _until_over(self, run: BackgroundRun, work: Callable[[Exchange], Any]) -> None:
        beat = asyncio.create_task(self._beat(run))
        try:
            await self._turn(run, work)
        except Exception as failure:
            error = to_api_error(failure)
            if error.code == "INTERNAL_ERROR":
                log.exception("background response %s failed", run.response_id)
            run.exchange.error = run.exchange.error or error
        finally:
            run.ended.set()
            await asyncio.wait([beat])
            try:
                await self._end(run)
            finally:
                self._over(run)
                run.over.set()

    async def _turn(self, run: BackgroundRun, work: Callable[[Exchange], Any]) -> None:
        try:
            await self._wait_for_turn(run)
            if run.is_cancelled or run.exchange.error is not None:
                return
            run.is_running = True
            run.call.deadline = time.monotonic() + self._timeout_s
            self._check(run.call.record.alias, self._current(run.caller))
            self._limiter.spend(run.caller, await work(run.exchange))
        finally:
            self._lines.leave(run.caller.key_id, run)

    async def _wait_for_turn(self, run: BackgroundRun) -> None:
        """A key runs as many at once as it may have sequences; the rest waits in its order."""
        deadline = time.monotonic() + self._timeout_s
        most = max(1, self._limiter.concurrent(run.caller))
        while not (self._lines.may_run(run.caller.key_id, run, most) or run.is_cancelled):
            if self._supervisor.draining:
                run.exchange.error = cut_error("shut_down")
                return
            if time.monotonic() > deadline:
                run.exchange.error = cut_error("timed_out")
                return
            await self._lines.moved(BEAT_S)

    def counts(self) -> tuple[int, int]:
        """How many run, and how many wait."""
        running = sum(run.is_running for run in self._runs.values())
        return running, len(self._runs) - running

    async def _beat(self, run: BackgroundRun) -> None:
        while not run.answer.log.is_over:
            try:
                await asyncio.wait_for(run.ended.wait(), BEAT_S)
                return
            except TimeoutError:
                await self._say_alive(run)

    async def _say_alive(self, run: BackgroundRun) -> None:
        try:
            goes_on = await run.answer.note(is_running=run.is_running)
        except ApiError as error:
            if error.status == 413:
                run.exchange.error = error
                run.cancel()
            return  # a disk that takes nothing may take it a second later
        if not goes_on:
            run.cancel()

    async def _end(self, run: BackgroundRun) -> None:
        """What its shape did not keep itself: a refusal before its first token, a cancelling."""
        answer, error = run.answer, run.exchange.error
        if answer.log.is_over:
            return
        end = answer.cancelled() if error is None else answer.fail(error.body())
        try:
            await answer(end)
        except ApiError as failure:
            log.error("the end of %s cannot be kept: %s", run.response_id, failure)

    async def cancel(self, run: BackgroundRun) -> None:
        """Returns once it is over, or after a while."""
        run.cancel()
        self._lines.stir()
        try:
            await asyncio.wait_for(run.over.wait(), CANCEL_S)
        except TimeoutError:
            return

    async def stop(self) -> None:
        """After the drain: what waits yet has failed."""
        for run in tuple(self._runs.values()):
            if not run.is_running:
                run.exchange.error = cut_error("shut_down")
                run.cancel()
        self._lines.stir()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=STOP_S)
            for task in late:
                task.cancel()
