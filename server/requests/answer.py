"""One request's life: lease an engine, render, generate, meter, record, answer. The heart."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import cast

from engines.base import Delta, Engine, GenerateRequest
from engines.fleet.deaths import Deaths
from engines.fleet.fleet import Fleet
from server.errors import ApiError, FormBroken
from server.fairness.gate import TurnPlace
from server.fairness.gates import Gates
from server.http.exchange import Exchange
from server.ledger.ledger import Ledger
from server.ledger.money import reserve_of
from server.requests.attempts import on_an_engine
from server.requests.comments import loading, waiting
from server.requests.gated import GatedTurn, in_fair_order
from server.requests.interleave import generated
from server.requests.live import LiveRun, live_generation
from server.requests.on_behalf import on_behalf
from server.requests.outcomes import cut_error, end_of, explained, usage_of
from server.requests.plan import Call, Metered, Stream, Whole
from server.requests.rendering import prepared
from server.requests.run import STUCK_S, RequestRun
from server.requests.run_state import ON_DELTA, ON_DELTA_READ, Event, State

_OPEN = State.OPEN


class GenerationRun(RequestRun[ApiError | None]):
    """Runs one Call on one Exchange. Whatever happens, exactly one record is closed."""

    __slots__ = (
        "_comment",
        "_engine",
        "_has_begun",
        "_has_engine",
        "_is_reserved",
        "_is_stream",
        "_noted_tokens",
        "_place",
        "_turn",
        "broken_form",
        "call",
        "fleet",
        "ledger",
    )

    def __init__(
        self, call: Call, exchange: Exchange, fleet: Fleet, ledger: Ledger, gates: Gates
    ) -> None:
        super().__init__(exchange, call.record.alias, call.record.owner, call.plan.sequences)
        self.call = call
        self.fleet = fleet
        self.ledger = ledger
        self.broken_form: str | None = None
        """What its answer was held to and ended without."""
        self._noted_tokens = 0
        self._engine: Engine | None = None
        """The one to abort, from `generate` on."""
        self._is_stream = call.plan.is_stream
        self._has_begun = False
        """Whether there was a first delta."""
        self._has_engine = self._is_reserved = False
        self._turn = GatedTurn(gates, call.record, self.times, call.service_class)
        self._place: TurnPlace | None = None
        """Where it waited for its turn as its deadline passed."""
        self._comment: asyncio.Task[None] | None = None
        """The last comment line, which may wait for its client."""

    # What happens to it from outside

    def tick(self, now: float) -> None:
        """Deadlines, a client that takes nothing, an engine that ignores its abort, silence."""
        if self.why is not None or self.call.record.completion_tokens != self._noted_tokens:
            self.on(Event.TICK)
        if self.why is not None:
            self._tick_after_cut(now)
        elif now > self.call.deadline:
            self._place = self._turn.place
            self.cut("timed_out")
        elif self.exchange.blocked_s(now) > self.call.send_timeout_s:
            self.on(Event.STALLED, "client_left")
        elif self._is_stream and self.exchange.is_silent(now, self.call.keep_alive_s):
            self.on(Event.SILENT)

    def _tick_after_cut(self, now: float) -> None:
        if now - self._cut_at > STUCK_S:
            self._cut_at = now
            self.on(Event.STALLED if self.exchange.blocked_s(now) else Event.UNANSWERED)

    def abort(self) -> None:
        if self._engine is not None:
            for request in self.call.plan.requests:
                self.begin(self._engine.abort(request.request_id))

    def note_progress(self) -> None:
        """While it waits for its first token, the ledger knows all there is to know."""
        tokens = self.call.record.completion_tokens
        if tokens != self._noted_tokens:
            self._noted_tokens = tokens
            self.ledger.progress(self.call.record)

    def keep_alive(self) -> None:
        is_due = self._comment is None or self._comment.done()
        if is_due and not self.exchange.write_now(line := self._comment_line()):
            self._comment = self.begin(self._keep_alive(line))

    async def _keep_alive(self, line: bytes) -> None:
        if not self.exchange.started:
            await self.exchange.open_stream(line, self.call.plan.media_type)
        elif not self.exchange.blocked_s(time.monotonic()):
            await self.exchange.write(line)

    def _comment_line(self) -> bytes:
        if self._has_engine or self.call.plan.waiting:
            return self.call.plan.waiting or waiting(self._turn.place)
        return loading(self.alias, self.fleet.outlook(self.alias))

    def live(self) -> LiveRun:
        return live_generation(self.call.record, self.times)

    async def _attempt(self) -> ApiError | None:
        record = self.call.record
        try:
            await self._generate()
        except asyncio.CancelledError:
            self.cancelled()
            if self._engine is None:
                record.prompt_tokens = 0  # the engine never took it
        except Exception as exc:
            record.end = end_of(exc, has_begun=record.ttft_s is not None)
            if record.ttft_s is None:
                record.prompt_tokens = 0
            if isinstance(exc, FormBroken):
                self.broken_form = exc.form
            if self.why is None:
                return self._explained(exc)
        if self.why is not None:
            record.end = self.why
            return cut_error(self.why, self._place)
        record.end = "length" if record.finish_reason == "length" else "ok"
        return None

    async def _generate(self) -> None:
        call, again = self.call, self._may_start_again
        if call.before is not None:
            await call.before()
        deaths = Deaths(call.record.record_id, call.spec.alias, call.fields.names)
        await on_an_engine(self.fleet, deaths, call.deadline, self._on, again, call.prefixes)

    async def _on(self, engine: Engine) -> None:
        self._has_engine = True
        self.times.has_engine()
        asked = on_behalf(engine, self.call, self.exchange, goes_on=self.call.plan.is_as_it_stands)
        requests, prompts = await prepared(self.call, asked)
        await self._reserve(requests)
        async with self._turn.at(engine, self.call.record.prompt_tokens, requests) as turn:
            in_order = in_fair_order(requests, turn)
            self._engine = asked
            self.times.generates()
            self.on(Event.GENERATE)
            async with aclosing(generated(asked, in_order, prompts, self)) as deltas:
                await self._read(deltas)
        if not self._has_begun and self.why is None:
            raise RuntimeError("The engine ended an answer that it never began.")

    def _may_start_again(self) -> bool:
        """On the next engine, since this one is gone: nobody has heard a token."""
        if self._has_begun or self.why is not None:
            return False
        self._engine, self._has_engine = None, False
        self.on(Event.LOST)
        return True

    async def _reserve(self, requests: Sequence[GenerateRequest]) -> None:
        """Open the ledger's entry for the most this request can use; does not wait for the disk."""
        record = self.call.record
        if self._is_reserved:
            return
        self._is_reserved = True
        if self.call.plan.has_running_usage:
            cast(Metered, self.call.plan.shape).follow(lambda: usage_of(record))
        cap_tokens = sum(r.sampling.max_tokens * r.sampling.n for r in requests)
        await self.ledger.begin(
            record,
            reserve_micro=reserve_of(record, cap_tokens),
            reserve_tokens=record.prompt_tokens + cap_tokens,
        )

    async def _read(self, deltas: AsyncIterator[Delta]) -> None:
        shape = self.call.plan.shape
        try:
            async for d in deltas:
                self.state = ON_DELTA[self.state]
                if d.cached_tokens:
                    # Of each prompt's first delta; none of those that `take` gets.
                    self._meter_cached(d)
                self._meter(d)
                if not self._is_stream:
                    cast(Whole, shape).add(d)
                elif self.why is None:
                    await self._say(d, cast(Stream, shape))
                self._has_begun = True
                self.state = ON_DELTA_READ[self.state]
        finally:
            self.on(Event.DELTA)

    async def _say(self, d: Delta, shape: Stream) -> None:
        exchange = self.exchange
        chunk = shape.delta(d) if self._has_begun else shape.open() + shape.delta(d)
        if not self._has_begun:
            await self.ledger.opened(self.call.record)
            if not exchange.started:
                await exchange.open_stream(chunk, self.call.plan.media_type)
                return
        if chunk:
            await exchange.write_soon(chunk)

    def is_ready(self) -> bool:
        """As a Sink: whether an open answer's client keeps up, so that nobody need wait."""
        if self.state is not _OPEN or not self._is_stream:
            return self.state is _OPEN
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
            record.ttft_s = max(0.0, self.times.elapsed_s() - d.gathered_s)
        record.completion_tokens += d.token_count
        if d.reasoning_token_count:
            record.reasoning_tokens += d.reasoning_token_count
        if d.finish_reason and record.finish_reason != "length":
            record.finish_reason = d.finish_reason

    def _meter_cached(self, d: Delta) -> None:
        """Never more than the prompt has, whatever an engine says: the rest would be negative."""
        record = self.call.record
        record.cached_tokens = min(record.cached_tokens + d.cached_tokens, record.prompt_tokens)

    async def _recorded(self, error: ApiError | None) -> ApiError | None:
        """Close the record, then let the client have its end: nothing is answered unbilled."""
        record = self.call.record
        record.duration_s = self.times.elapsed_s()
        try:
            delivered = self._is_stream and self._has_begun
            await asyncio.shield(self.ledger.close_record(record, is_delivered=delivered))
        except Exception as exc:
            return self._explained(exc)
        return error

    async def _answer(self, error: ApiError | None) -> None:
        exchange = self.exchange
        await self._comment_sent()
        if self.why == "client_left":
            exchange.status = exchange.status or 499
        elif self._is_stream and (exchange.started or error is None):
            await self._close_stream(error)
        elif error is None:
            await self._reply()
        else:
            await exchange.fail(error)

    async def _reply(self) -> None:
        plan = self.call.plan
        body = cast(Whole, plan.shape).body(usage_of(self.call.record))
        try:
            await self.exchange.reply(200, await plan.said(body), plan.whole_type)
        except ApiError as error:
            await self.exchange.fail(error)

    async def _comment_sent(self) -> None:
        """Nothing else may write while, or after, the end goes out."""
        if self._comment is not None:
            await asyncio.wait([self._comment], timeout=STUCK_S)
            self._comment.cancel()

    async def _close_stream(self, error: ApiError | None) -> None:
        stream = cast(Stream, self.call.plan.shape)
        if error is None:
            end = stream.close(usage_of(self.call.record))
        else:
            self.exchange.code, end = error.code, stream.fail(error.body())
        await self.exchange.write(await self.call.plan.said(end), more=False)

    def _explained(self, exc: Exception) -> ApiError:
        return explained(exc, self.call.plan.wire_names, self.call.fields, self.exchange.request_id)
