"""One request's life: lease an engine, render, generate, meter, record, answer. The heart."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any, cast

from engines.base import (
    Delta,
    Engine,
    GenerateRequest,
    InvalidRequest,
    Prompt,
)
from engines.fleet.fleet import Fleet
from server.errors import ApiError, to_api_error
from server.http.exchange import Exchange
from server.ledger.ledger import Ledger
from server.ledger.money import reserve_of
from server.requests.ends import cut_error, end_of, usage_of
from server.requests.interleave import generated
from server.requests.plan import Call, Stream, Whole, fitted
from server.requests.supervisor import Cut, Supervisor

log = logging.getLogger("fjord.answer")

_STUCK_S = 5.0
PROGRESS_S = 2.0
"""How much of a running answer a crash may leave unbilled."""


class GenerationRun:
    """Runs one Call on one Exchange. Whatever happens, exactly one record is closed."""

    __slots__ = (
        "_cut",
        "_cut_at",
        "_engine",
        "_is_open",
        "_is_settling",
        "_is_stream",
        "_noted_at",
        "_noted_tokens",
        "_side_tasks",
        "_task",
        "call",
        "exchange",
        "fleet",
        "ledger",
        "started",
        "wait_s",
    )

    def __init__(self, call: Call, exchange: Exchange, fleet: Fleet, ledger: Ledger) -> None:
        self.call = call
        self.exchange = exchange
        self.fleet = fleet
        self.ledger = ledger
        self.started = time.monotonic()
        self.wait_s = 0.0
        self._noted_at = self.started
        self._noted_tokens = 0
        self._engine: Engine | None = None
        self._cut: Cut | None = None
        self._cut_at = 0.0
        self._is_settling = self._is_open = False
        self._is_stream = call.plan.is_stream
        self._task: asyncio.Task[Any] | None = None
        self._side_tasks: set[asyncio.Task[None]] = set()

    async def run(self, watch: Supervisor) -> None:
        """Generate, record, and answer. Raises only when cancelled from outside."""
        self._task = asyncio.current_task()
        watch.add(self)
        self.exchange.watch_disconnect(lambda: self.cut("client_left"))
        try:
            error = await self._attempt()
            await self._settle(error)
        finally:
            self.exchange.unwatch()
            watch.remove(self)

    # What happens to it from outside

    def cut(self, why: Cut) -> None:
        """End it: abort a generation, so that what it made is billed, or stop waiting for one."""
        if self._cut is not None or self._task is None:
            return
        self._cut, self._cut_at = why, time.monotonic()
        if self._engine is not None:
            self._abort(self._engine)
        elif not self._is_settling:
            self._task.cancel()

    def _abort(self, engine: Engine) -> None:
        for request in self.call.plan.requests:
            self._aside(engine.abort(request.request_id))

    def tick(self, now: float) -> None:
        """Deadlines, a client that takes nothing, an engine that ignores its abort, silence."""
        if self._cut is not None:
            self._press_on(now)
        elif now > self.call.deadline:
            self.cut("timed_out")
        elif self.exchange.blocked_s(now) > self.call.send_timeout_s:
            self.cut("client_left")
            self.exchange.drop()
        elif self._is_stream and self.exchange.silent_s(now) > self.call.keep_alive_s:
            self._aside(self._keep_alive())
        if self._engine is not None and now - self._noted_at > PROGRESS_S:
            self._note_progress(now)

    def _note_progress(self, now: float) -> None:
        """While it waits for its first token, the ledger knows all there is to know."""
        self._noted_at = now
        tokens = self.call.record.completion_tokens
        if tokens != self._noted_tokens:
            self._noted_tokens = tokens
            self.ledger.progress(self.call.record)

    def _press_on(self, now: float) -> None:
        if self._engine is not None:
            # Again: an engine knows nothing of a request that it has not taken yet (vLLM first
            # compiles its schema), and would generate it to its end.
            self._abort(self._engine)
        if now - self._cut_at > _STUCK_S and self._task is not None:
            self._cut_at = now
            if self.exchange.blocked_s(now):
                self.exchange.drop()
            elif self._engine is not None:
                self._engine = None
                self._task.cancel()

    async def _keep_alive(self) -> None:
        if not self.exchange.started:
            await self.exchange.open_stream()
        if not self.exchange.blocked_s(time.monotonic()):
            await self.exchange.write(b": waiting\n\n")

    def _aside(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._side_tasks.add(task)
        task.add_done_callback(self._side_tasks.discard)

    # Its own way

    async def _attempt(self) -> ApiError | None:
        record = self.call.record
        try:
            await self._generate()
        except asyncio.CancelledError:
            if self._cut is None:
                self._cut = "shut_down"
            elif self._task is not None:
                self._task.uncancel()
        except Exception as exc:
            record.end = end_of(exc)
            if record.ttft_s is None:
                record.prompt_tokens = 0  # the engine never took it
            if self._cut is None:
                return self._explained(exc)
        self._engine = None
        if self._cut is not None:
            record.end = self._cut
            return cut_error(self._cut)
        record.end = "length" if record.finish_reason == "length" else "ok"
        return None

    async def _generate(self) -> None:
        call = self.call
        async with self.fleet.lease(call.spec.alias) as engine:
            self.wait_s = time.monotonic() - self.started
            requests, prompts = await self._rendered(engine)
            await self._reserve(requests)
            self._engine = engine
            async with aclosing(generated(engine, requests, prompts, self)) as deltas:
                await self._read(deltas)

    async def _rendered(self, engine: Engine) -> tuple[list[GenerateRequest], list[Prompt]]:
        call = self.call
        prompts = [await engine.render(request) for request in call.plan.requests]
        requests = [
            fitted(call, request, prompt, engine.context_tokens)
            for request, prompt in zip(call.plan.requests, prompts, strict=True)
        ]
        call.record.prompt_tokens = sum(prompt.token_count for prompt in prompts)
        return requests, prompts

    async def _reserve(self, requests: Sequence[GenerateRequest]) -> None:
        """Open the ledger's entry for the most this request can use; does not wait for the disk."""
        record = self.call.record
        cap_tokens = sum(r.sampling.max_tokens * r.sampling.n for r in requests)
        await self.ledger.begin(
            record,
            reserve_micro=reserve_of(record, cap_tokens),
            reserve_tokens=record.prompt_tokens + cap_tokens,
        )

    async def _read(self, deltas: AsyncIterator[Delta]) -> None:
        shape, is_first = self.call.plan.shape, True
        try:
            async for d in deltas:
                self._is_open = False
                self._meter(d)
                if not self._is_stream:
                    cast(Whole, shape).add(d)
                elif self._cut is None:
                    await self._say(d, cast(Stream, shape), is_first)
                    is_first = False
                self._is_open = True  # what comes next may be taken at once
        finally:
            self._is_open = False

    async def _say(self, d: Delta, shape: Stream, is_first: bool) -> None:
        exchange = self.exchange
        chunk = shape.open() + shape.delta(d) if is_first else shape.delta(d)
        if is_first:
            await self.ledger.opened(self.call.record)
            if not exchange.started:
                await exchange.open_stream(chunk)
                return
        if chunk:
            await exchange.write_soon(chunk)

    def is_ready(self) -> bool:
        """As a Sink: whether an open answer's client keeps up, so that nobody need wait."""
        if not self._is_open or self._cut is not None:
            return False
        if not self._is_stream:
            return True
        direct = self.exchange.direct
        return direct is not None and direct.is_ready()

    def take(self, delta: Delta) -> None:
        """As a Sink: a delta in the middle of an open answer, past this request's own task."""
        self._meter(delta)
        shape = self.call.plan.shape
        if not self._is_stream:
            cast(Whole, shape).add(delta)
        elif (chunk := cast(Stream, shape).delta(delta)) and (direct := self.exchange.direct):
            direct.write(chunk)

    def _meter(self, d: Delta) -> None:
        record = self.call.record
        if record.ttft_s is None:
            record.ttft_s = time.monotonic() - self.started
            record.cached_tokens = d.cached_tokens
        record.completion_tokens += d.token_count
        if d.reasoning_token_count:
            record.reasoning_tokens += d.reasoning_token_count
        if d.finish_reason and record.finish_reason != "length":
            record.finish_reason = d.finish_reason

    async def _settle(self, error: ApiError | None) -> None:
        """Close the record, then let the client have its end: nothing is answered unbilled."""
        self._is_settling = True
        record = self.call.record
        record.duration_s = time.monotonic() - self.started
        try:
            delivered = self._is_stream and self.exchange.started
            await asyncio.shield(self.ledger.close_record(record, is_delivered=delivered))
        except Exception as exc:
            error = self._explained(exc)
        if self._cut == "client_left":
            self.exchange.status = self.exchange.status or 499
            return
        await self._finish(error)

    async def _finish(self, error: ApiError | None) -> None:
        call, exchange = self.call, self.exchange
        usage = usage_of(call.record)
        if not self._is_stream:
            if error is None:
                await exchange.reply(200, cast(Whole, call.plan.shape).body(usage))
            else:
                await exchange.fail(error)
            return
        stream = cast(Stream, call.plan.shape)
        if error is None:
            await exchange.write(stream.close(usage), more=False)
        elif exchange.started:
            await exchange.write(stream.fail(error.body()), more=False)
        else:
            await exchange.fail(error)

    def _explained(self, exc: Exception) -> ApiError:
        if isinstance(exc, InvalidRequest) and exc.param is not None:
            exc.param = self.call.plan.wire_names.get(exc.param, exc.param)
        error = to_api_error(exc)
        if error.code == "INTERNAL_ERROR":
            log.exception("request %s failed", self.exchange.request_id, exc_info=exc)
        return error
