"""What a front asks for by its channel."""

import asyncio
import contextlib
import logging
from contextlib import AsyncExitStack
from typing import Any, Final

from msgspec.structs import replace

from engines.base import EngineError, GenerateRequest
from engines.registry.spec import ModelSpec
from server.api.peer.answer import ChannelExchange, PeerAnswer
from server.api.peer.channel import NodeChannel
from server.api.peer.door import PeerDoor, PeerQuestion, own_name
from server.api.peer.held import Held, HeldPrompts
from server.http.exchange import ClientLeft, Exchange
from server.http.request_log import line_of
from server.peers.errors import told_error
from server.peers.wire import (
    ABORT,
    ERROR,
    GENERATE,
    GONE,
    LET_GO,
    RENDER,
    REPLY,
    FrameReader,
    GenerateCall,
    RenderCall,
    RenderedPrompt,
    decoder,
    encode,
    frame,
    packed_ids,
)

log = logging.getLogger("fjord.peers")

LOOK_S: Final = 5.0
_RENDER = decoder(RenderCall)
_GENERATE = decoder(GenerateCall)


class ChannelQuestion(PeerQuestion[None]):
    """A front opens its channel, and keeps it open."""

    def __init__(self, door: PeerDoor, held: HeldPrompts) -> None:
        super().__init__(door)
        self._held = held

    async def serve_admitted(self, exchange: Exchange) -> None:
        line_of(exchange.scope).traces = None  # each generation has a trace, and a front's
        channel = NodeChannel(exchange)
        await channel.open()
        reading = asyncio.ensure_future(self._read(exchange, channel))
        drain = asyncio.ensure_future(self.services.supervisor.drain_began.wait())
        try:
            while not (reading.done() or drain.done()):
                await asyncio.wait(
                    [reading, drain], timeout=LOOK_S, return_when=asyncio.FIRST_COMPLETED
                )
                channel.look()
            await self._last(channel, reading)
        finally:
            reading.cancel()
            drain.cancel()
            channel.lose()

    async def _last(self, channel: NodeChannel, reading: "asyncio.Task[None]") -> None:
        """Where this server ends: at the drain's end all runs are cut."""
        if not reading.done():
            idle = asyncio.ensure_future(channel.idle())
            await asyncio.wait([reading, idle], return_when=asyncio.FIRST_COMPLETED)
            idle.cancel()
        if not reading.done():
            await channel.end()

    async def _read(self, exchange: Exchange, channel: NodeChannel) -> None:
        """Until the front leaves. What is no frame ends the channel."""
        frames = FrameReader()
        with contextlib.suppress(ClientLeft):
            try:
                async for data in exchange.body_in_pieces(1):
                    for kind, number, payload in frames.feed(data):
                        self._heard(exchange, channel, kind, number, payload)
                    await channel.room()
            except ValueError as error:
                log.warning("a front's channel ends: %s", error)
                exchange.drop()

    def _heard(
        self, exchange: Exchange, channel: NodeChannel, kind: int, number: int, payload: bytes
    ) -> None:
        """Raises ValueError: what is no call, and a number that is in use."""
        if kind in (RENDER, GENERATE) and channel.is_known(number):
            raise ValueError("a number came twice")
        if kind == RENDER:
            call = _RENDER.decode(payload)
            channel.begin(number, self._rendered(exchange, channel, number, call))
        elif kind == GENERATE:
            self._generate(exchange, channel, number, _GENERATE.decode(payload))
        elif kind == LET_GO:
            self._held.let_go(payload.decode())
        elif kind == ABORT:
            run = channel.run_of(number)
            if isinstance(run, PeerAnswer):
                run.abort_asked()
            else:
                channel.cancel(number)

    async def _rendered(
        self, exchange: Exchange, channel: NodeChannel, number: int, call: RenderCall
    ) -> None:
        try:
            held = await self._render(call)
        except Exception as error:
            if not isinstance(error, EngineError):
                log.exception("a prompt for another server failed")
            channel.write(frame(ERROR, number, encode(told_error(error))))
            return
        goes_on = call.goes_on and held.fits
        reply = self._reply(held, "" if goes_on else self._held.keep(held))
        channel.write(frame(REPLY, number, encode(reply)))
        if goes_on:
            begun = GenerateCall(
                held="",
                sampling=held.request.sampling,
                priority=held.request.priority,
                asker=call.asker,
                patience_s=call.patience_s,
            )
            await self._run(self._answer(exchange, channel, number, held, begun), channel, number)

    async def _render(self, call: RenderCall) -> Held:
        spec = self.door.model(call.alias)
        self.door.check_queue(spec.alias, call.asker.owner)
        request = self._as_here(call, spec)
        with self._held.made():
            return await self._made(spec, request, call.patience_s)

    async def _made(self, spec: ModelSpec, request: GenerateRequest, patience_s: float) -> Held:
        async with AsyncExitStack() as stack:
            engine = await stack.enter_async_context(self.door.lease(spec.alias, patience_s))
            prompt = await engine.render(request)
            return Held(spec, engine, request, prompt, stack.pop_all())

    def _reply(self, held: Held, handle: str) -> RenderedPrompt:
        speech = held.request.speech
        language = None if speech is None else speech.language.code
        return RenderedPrompt(handle, packed_ids(held.prompt.token_ids), language)

    def _as_here(self, call: RenderCall, spec: ModelSpec) -> GenerateRequest:
        """With this server's files, and its salt: an owner has one, whichever front asks."""
        asked = call.request
        salt = asked.cache_salt and self.services.prefix_salts.of(spec, call.asker.owner)
        name = own_name(asked.request_id)
        return replace(asked, request_id=name, adapter=spec.adapter, cache_salt=salt)

    def _generate(
        self, exchange: Exchange, channel: NodeChannel, number: int, call: GenerateCall
    ) -> None:
        held = self._held.take(call.held)
        if held is None:
            channel.write(frame(GONE, number))
            return
        answer = self._answer(exchange, channel, number, held, call)
        channel.begin(number, self._run(answer, channel, number))

    def _answer(
        self,
        exchange: Exchange,
        channel: NodeChannel,
        number: int,
        held: Held,
        call: GenerateCall,
    ) -> PeerAnswer:
        own = ChannelExchange(exchange.scope, _never, _never, exchange.request_id)
        answer = PeerAnswer(held, call, number, channel, own, self.services)
        channel.add_run(number, answer)
        return answer

    async def _run(self, answer: PeerAnswer, channel: NodeChannel, number: int) -> None:
        try:
            await answer.run(self.services.supervisor)
        except Exception:
            log.exception("request %s failed", answer.request.request_id)
        finally:
            channel.remove_run(number)
            if self.services.traces is not None:
                self.services.traces.ended(answer.traced())
            self.door.metrics.count(answer.alias, answer.record.completion_tokens)


async def _never(*message: Any) -> Any:
    """Of an exchange that is answered otherwise."""
    raise NotImplementedError
