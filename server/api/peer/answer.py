"""One generation for another server: frames, as the engine makes them."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Final

from msgspec.structs import replace

from engines.base import Delta, EngineError, EngineUnavailable
from server.api.peer.door import MEDIA, refuse
from server.api.peer.held import Held
from server.api.services import Services
from server.fairness.gate import EngineLeft
from server.http.exchange import Exchange
from server.ledger.records import UsageRecord
from server.peers.errors import told_error
from server.peers.stream import GONE
from server.peers.wire import END, ERROR, GenerateCall, delta_frame, encode, frame
from server.requests.gated import GatedTurn, in_fair_order
from server.requests.live import LiveRun, live_generation
from server.requests.run import STUCK_S, RequestRun
from server.requests.run_state import ON_DELTA, ON_DELTA_READ, Event, State

log = logging.getLogger("fjord.peers")

SEND_S: Final = 10.0
"""A front that takes nothing for so long is gone."""


class PeerAnswers:
    """Those that run, by the request's id."""

    def __init__(self) -> None:
        self._running: dict[str, PeerAnswer] = {}

    def add(self, answer: "PeerAnswer") -> None:
        self._running[answer.request.request_id] = answer

    def remove(self, answer: "PeerAnswer") -> None:
        self._running.pop(answer.request.request_id, None)

    def abort(self, request_id: str) -> None:
        """What is not known is over."""
        if (answer := self._running.get(request_id)) is not None:
            answer.abort_asked()


class PeerAnswer(RequestRun[Exception | None]):
    """One of them. The front keeps the record; this one's carries what is counted here."""

    __slots__ = (
        "_deadline",
        "_held",
        "_is_aborted",
        "_is_generating",
        "_turn",
        "record",
        "request",
    )

    def __init__(
        self, held: Held, call: GenerateCall, exchange: Exchange, services: Services
    ) -> None:
        request = replace(held.request, sampling=call.sampling, priority=call.priority)
        super().__init__(exchange, held.spec.alias, call.asker.owner, call.sampling.n)
        self._held, self.request = held, request
        self.record = _record(held, call)
        self._turn = GatedTurn(services.gates, self.record, self.times, call.asker.service_class)
        self._deadline = time.monotonic() + services.settings.request_timeout_s + SEND_S
        self._is_aborted = self._is_generating = False

    def abort_asked(self) -> None:
        """What is there is told, and then its end."""
        self._is_aborted = True
        if self._is_generating:
            self.begin(self._held.engine.abort(self.request.request_id))
        elif self.state is State.WAITING:
            self._cancel()

    def abort(self) -> None:
        self.begin(self._held.engine.abort(self.request.request_id))

    def tick(self, now: float) -> None:
        self.on(Event.TICK)
        if self.why is not None:
            if now - self._cut_at > STUCK_S:
                self._cut_at = now
                self.on(Event.STALLED if self.exchange.blocked_s(now) else Event.UNANSWERED)
        elif now > self._deadline:
            self.cut("timed_out")
        elif self.exchange.blocked_s(now) > SEND_S:
            self.on(Event.STALLED, "client_left")

    def live(self) -> LiveRun:
        return live_generation(self.record, self.times)

    # Its own way

    async def _attempt(self) -> Exception | None:
        error: Exception | None = None
        try:
            async with self._held.lease:
                await self._generate()
        except asyncio.CancelledError:
            if self._is_aborted and self.why is None and self._task is not None:
                self._task.uncancel()
            else:
                self.cancelled()
        except Exception as exc:
            error = exc
            if not isinstance(exc, EngineError):
                log.exception("request %s failed", self.exchange.request_id)
        if self.why in ("shut_down", "timed_out"):
            return EngineUnavailable("The server that generated it was shut down.", 1.0)
        return error

    async def _generate(self) -> None:
        held, tokens = self._held, self._held.prompt.token_count
        self.times.has_engine()
        async with self._turn.at(held.engine, tokens, [self.request]) as turn:
            [self.request] = in_fair_order([self.request], turn)
            self.times.generates()
            self._is_generating = True
            self.on(Event.GENERATE)
            async with aclosing(held.engine.generate(self.request, held.prompt, self)) as deltas:
                await self._read(deltas)

    async def _read(self, deltas: AsyncIterator[Delta]) -> None:
        try:
            async for d in deltas:
                self.state = ON_DELTA[self.state]
                self._meter(d)
                if self.why is None:
                    await self._say(delta_frame(d))
                self.state = ON_DELTA_READ[self.state]
        finally:
            self.on(Event.DELTA)

    async def _say(self, chunk: bytes) -> None:
        if self.exchange.started:
            await self.exchange.write_soon(chunk)
        else:
            await self.exchange.open_stream(chunk, MEDIA)

    def is_ready(self) -> bool:
        """As a Sink."""
        direct = self.exchange.direct
        return self.state is State.OPEN and direct is not None and direct.is_ready()

    def take(self, delta: Delta) -> None:
        """As a Sink."""
        self._meter(delta)
        if (direct := self.exchange.direct) is not None:
            direct.write(delta_frame(delta))

    def _meter(self, d: Delta) -> None:
        record = self.record
        if record.ttft_s is None:
            record.ttft_s = self.times.elapsed_s()
        record.completion_tokens += d.token_count
        record.cached_tokens += d.cached_tokens
        if d.finish_reason:
            record.finish_reason = d.finish_reason

    async def _recorded(self, outcome: Exception | None) -> Exception | None:
        return outcome

    async def _answer(self, outcome: Exception | None) -> None:
        exchange = self.exchange
        if self.why == "client_left":
            exchange.status = exchange.status or 499
        elif isinstance(outcome, EngineLeft) and not exchange.started:
            await exchange.reply(GONE, b"")  # the front has it rendered by the next one
        elif outcome is not None and not exchange.started:
            await refuse(exchange, outcome)
        else:
            await self._close(outcome)

    async def _close(self, outcome: Exception | None) -> None:
        exchange = self.exchange
        if not exchange.started:  # it was aborted before it began
            await exchange.open_stream(media_type=MEDIA)
            for index in range(self.sequences):
                await exchange.write(delta_frame(Delta(index=index, finish_reason="abort")))
        end = frame(END, b"") if outcome is None else _told(outcome)
        await exchange.write(end, more=False)


def _told(error: Exception) -> bytes:
    return frame(ERROR, encode(told_error(error)))


def _record(held: Held, call: GenerateCall) -> UsageRecord:
    return UsageRecord(
        record_id=held.request.request_id,
        key_id=call.asker.key_id,
        owner=call.asker.owner,
        alias=held.spec.alias,
        weights=held.spec.weights,
        revision=held.spec.engine.revision,
        endpoint="peer",
        stream=held.request.stream,
        started_at=time.time(),
        end="lost",
        prompt_tokens=held.prompt.token_count,
    )
