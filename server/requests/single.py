"""A request that is answered at once, without deltas: lease an engine, work, record, answer."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from engines.base import Engine, InvalidRequest
from engines.fleet.fleet import Fleet
from server.errors import ApiError, to_api_error
from server.http.exchange import Exchange
from server.ledger.ledger import Ledger
from server.ledger.money import reserve_of
from server.ledger.records import UsageRecord
from server.requests.ends import cut_error, end_of
from server.requests.supervisor import Cut, Supervisor

log = logging.getLogger("fjord.job")

Work: TypeAlias = Callable[[Engine], Awaitable[bytes]]
"""The work itself: notes its tokens in the record, and returns the answer's body."""


@dataclass(slots=True, kw_only=True, eq=False)
class SingleRun:
    """One of them. With a ledger, exactly one record is closed, whatever happens."""

    exchange: Exchange
    fleet: Fleet
    record: UsageRecord
    work: Work
    deadline: float
    """time.monotonic() at which it ends with REQUEST_TIMEOUT."""
    ledger: Ledger | None = None
    """None: the request costs nothing and leaves no record."""
    most_tokens: int = 0
    """What it can use at most, for the ledger to reserve."""
    wire_names: Mapping[str, str] = field(default_factory=dict)
    """Chat's field names, as errors of engines say them -> this endpoint's own."""
    wait_s: float = 0.0
    _cut: Cut | None = None
    _task: asyncio.Task[Any] | None = None

    async def run(self, watch: Supervisor) -> None:
        """Work, record, and answer. Raises only when cancelled from outside."""
        self._task = asyncio.current_task()
        watch.add(self)
        self.exchange.watch_disconnect(lambda: self.cut("client_left"))
        try:
            outcome = await self._attempt()
            outcome = await self._settled(outcome)
            await self._finish(outcome)
        finally:
            self.exchange.unwatch()
            watch.remove(self)

    def cut(self, why: Cut) -> None:
        """End it now."""
        if self._cut is None and self._task is not None:
            self._cut = why
            self._task.cancel()

    def tick(self, now: float) -> None:
        if now > self.deadline:
            self.cut("timed_out")

    async def _attempt(self) -> bytes | ApiError:
        record, began = self.record, time.monotonic()
        try:
            async with self.fleet.lease(record.alias) as engine:
                self.wait_s = time.monotonic() - began
                await self._reserve()
                body = await self.work(engine)
            record.end = "ok"
            return body
        except asyncio.CancelledError:
            record.end = self._cut or "shut_down"
            if self._cut is not None and self._task is not None:
                self._task.uncancel()
            return cut_error(record.end)
        except Exception as exc:
            record.end = end_of(exc)
            record.prompt_tokens = 0  # nothing came of it
            return self._explained(exc)
        finally:
            self._task = None  # from here on nothing can be cut
            record.duration_s = time.monotonic() - began

    async def _reserve(self) -> None:
        if self.ledger is None:
            return
        record, most = self.record, self.most_tokens
        record.prompt_tokens = most
        micro = reserve_of(record, 0)
        record.prompt_tokens = 0
        await self.ledger.begin(record, reserve_micro=micro, reserve_tokens=most)

    async def _settled(self, outcome: bytes | ApiError) -> bytes | ApiError:
        if self.ledger is None:
            return outcome
        try:
            await asyncio.shield(self.ledger.close_record(self.record, is_delivered=False))
        except Exception as exc:
            return self._explained(exc)
        return outcome

    async def _finish(self, outcome: bytes | ApiError) -> None:
        if self._cut == "client_left":
            self.exchange.status = 499
        elif isinstance(outcome, ApiError):
            await self.exchange.fail(outcome)
        else:
            await self.exchange.reply(200, outcome)

    def _explained(self, exc: Exception) -> ApiError:
        if isinstance(exc, InvalidRequest) and exc.param is not None:
            exc.param = self.wire_names.get(exc.param, exc.param)
        error = to_api_error(exc)
        if error.code == "INTERNAL_ERROR":
            log.exception("request %s failed", self.exchange.request_id, exc_info=exc)
        return error
