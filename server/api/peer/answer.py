"""One generation for another server: frames, as the engine makes them."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing

from msgspec.structs import replace

from engines.base import Delta, EngineError, EngineUnavailable, InvalidRequest
from server.api.peer.channel import NodeChannel
from server.api.peer.door import trace_headers
from server.api.peer.held import Held
from server.api.peer.traced import traced_answer
from server.api.services import Services
from server.fairness.gate import EngineLeft, TurnPlace
from server.http.exchange import Exchange
from server.ledger.records import UsageRecord
from server.peers.errors import told_error
from server.peers.wire import (
    END,
    ERROR,
    GONE,
    MOST_FRAME,
    PLACE,
    GenerateCall,
    delta_frame,
    encode,
    frame,
)
from server.requests.gated import GatedTurn, in_fair_order
from server.requests.live import LiveRun, live_generation
from server.requests.outcomes import end_of
from server.requests.run import STUCK_S, RequestRun
from server.requests.run_state import ON_DELTA, ON_DELTA_READ, Event, State
from server.tracing.facts import TracedRequest

log = logging.getLogger("fjord.peers")


class ChannelExchange(Exchange):
    """Of a request whose answer goes by the front's channel, which outlives it."""

    def watch_disconnect(self, left: Callable[[], None]) -> None:
        """The channel cuts it."""

    def unwatch(self) -> None:
        pass

    def drop(self) -> None:
        """The channel bounds its front's time."""


class PeerAnswer(RequestRun[Exception | None]):
    """One of them. The front keeps the record; this one's carries what is counted here."""

    __slots__ = (
        "_asker",
        "_channel",
        "_deadline",
        "_held",
        "_is_aborted",
        "_is_generating",
        "_is_under_way",
        "_number",
        "_told_place",
        "_turn",
        "record",
        "request",
    )

    def __init__(
        self,
        held: Held,
        call: GenerateCall,
        number: int,
        channel: NodeChannel,
        exchange: Exchange,
        services: Services,
    ) -> None:
        request = replace(held.request, sampling=call.sampling, priority=call.priority)
        super().__init__(exchange, held.spec.alias, call.asker.owner, call.sampling.n)
        self._held, self.request = held, request
        self._channel, self._number = channel, number
        self.record, self._asker = _record(held, call), call.asker
        self._turn = GatedTurn(services.gates, self.record, self.times, call.asker.service_class)
        self._deadline = time.monotonic() + call.patience_s + STUCK_S
        self._is_aborted = self._is_generating = self._is_under_way = False
        self._told_place: TurnPlace | None = None

    def abort_asked(self) -> None:
        """What is there is told, and then its end."""
        self._is_aborted = True
        if self._is_generating:
            self.abort()
        elif self.state is State.WAITING:
            self._cancel()

    def abort(self) -> None:
        self.begin(self._held.engine.abort(self.request.request_id))

    def tick(self, now: float) -> None:
        self.on(Event.TICK)
        if self._is_aborted and self.state in (State.READING, State.OPEN):
            self.abort()  # the engine may not have had it yet
        if self.why is not None and now - self._cut_at > STUCK_S:
            self._cut_at = now
            self.on(Event.UNANSWERED)
        elif self.why is None and now > self._deadline:
            self.cut("timed_out")
        elif (place := self._turn.place) != self._told_place and place is not None:
            self._told_place = place
            self._channel.write(frame(PLACE, self._number, encode(place)))

    def traced(self) -> TracedRequest:
        """What a trace says of it, once it has ended."""
        scope, headers = self.exchange.scope, trace_headers(self._asker)
        code = self.exchange.code
        return traced_answer(scope, headers, self.record, self.times, self.request, code)

    def live(self) -> LiveRun:
        return live_generation(self.record, self.times)

    # Its own way

    async def _attempt(self) -> Exception | None:
        error: Exception | None = None
        try:
            async with self._held.lease:
                if not self._is_aborted:
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
                self.take(d)
                await self._channel.room()
                self.state = ON_DELTA_READ[self.state]
        finally:
            self.on(Event.DELTA)

    def is_ready(self) -> bool:
        """As a Sink."""
        return self.state is State.OPEN and self._channel.is_ready()

    def take(self, delta: Delta) -> None:
        """As a Sink, and of what comes to its task."""
        record, is_urgent = self.record, False
        if record.ttft_s is None:
            record.ttft_s = max(0.0, self.times.elapsed_s() - delta.gathered_s)
            # where it is all that there is, it goes with its end
            is_urgent = delta.finish_reason is None or self.sequences > 1
            self._is_under_way = is_urgent
        record.completion_tokens += delta.token_count
        record.cached_tokens += delta.cached_tokens
        if delta.finish_reason:
            record.finish_reason = delta.finish_reason
        if self.why is None:
            piece = _of_bounded_length(delta_frame(self._number, delta))
            self._channel.write(piece, is_urgent=is_urgent)

    async def _recorded(self, outcome: Exception | None) -> Exception | None:
        record = self.record
        record.duration_s = self.times.elapsed_s()
        has_begun = record.ttft_s is not None
        record.end = self.why or ("ok" if outcome is None else end_of(outcome, has_begun=has_begun))
        self.exchange.code = "" if outcome is None else type(outcome).__name__
        return outcome

    async def _answer(self, outcome: Exception | None) -> None:
        if self.why == "client_left":
            return
        if isinstance(outcome, EngineLeft) and self.record.ttft_s is None:
            self._channel.write(frame(GONE, self._number))  # the next engine makes it again
            return
        if self._is_aborted and not self._is_generating:
            for index in range(self.sequences):
                end = Delta(index=index, finish_reason="abort")
                self._channel.write(delta_frame(self._number, end))
        if outcome is None:
            is_urgent = not (self.request.stream and self._is_under_way)
            self._channel.write(frame(END, self._number), is_urgent=is_urgent)
        else:
            self._channel.write(frame(ERROR, self._number, encode(told_error(outcome))))


def _of_bounded_length(piece: bytes) -> bytes:
    """Raises InvalidRequest: a prompt's log probabilities can be longer than any other answer."""
    if len(piece) > MOST_FRAME:
        message = f"The answer is too long for the way from the model: {len(piece)} bytes at once."
        raise InvalidRequest(message, "logprobs", "fewer log probabilities, or a shorter prompt")
    return piece


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
