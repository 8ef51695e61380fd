"""A generation begins, and is aborted; what it makes goes by the front's channel."""

import asyncio
import logging
from typing import Any

from server.api.peer.answer import ChannelExchange, PeerAnswer
from server.api.peer.channel import NodeChannel
from server.api.peer.door import PeerDoor, PeerQuestion
from server.api.peer.held import HeldPrompts
from server.http.exchange import Exchange
from server.peers.stream import GONE
from server.peers.wire import AbortCall, GenerateCall

log = logging.getLogger("fjord.peers")


class GenerateQuestion(PeerQuestion[GenerateCall]):
    """Of a prompt that was rendered here, a few seconds ago at most. Answered once it has begun."""

    kind = GenerateCall

    def __init__(self, door: PeerDoor, held: HeldPrompts, channels: dict[str, NodeChannel]) -> None:
        super().__init__(door)
        self._held, self._channels = held, channels
        self._running: set[asyncio.Task[None]] = set()

    async def serve(self, exchange: Exchange, call: GenerateCall) -> None:
        channel = self._channels.get(call.channel)
        held = None if channel is None else self._held.take(call.held)
        if channel is None or held is None:
            await exchange.reply(GONE, b"")
            return
        own = ChannelExchange(exchange.scope, _never, _never, exchange.request_id)
        answer = PeerAnswer(held, call, channel, own, self.services)
        channel.add(call.number, answer)
        task = asyncio.create_task(self._run(answer, channel, call.number))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        await exchange.reply(200, b"")

    async def _run(self, answer: PeerAnswer, channel: NodeChannel, number: int) -> None:
        try:
            await answer.run(self.services.supervisor)
        except Exception:
            log.exception("request %s failed", answer.exchange.request_id)
        finally:
            channel.remove(number)
            self.door.metrics.count(answer.alias, answer.record.completion_tokens)


class AbortQuestion(PeerQuestion[AbortCall]):
    """What is not known is over."""

    kind = AbortCall

    def __init__(self, door: PeerDoor, channels: dict[str, NodeChannel]) -> None:
        super().__init__(door)
        self._channels = channels

    async def answer(self, call: AbortCall) -> None:
        channel = self._channels.get(call.channel)
        run = None if channel is None else channel.run_of(call.number)
        if isinstance(run, PeerAnswer):
            run.abort_asked()


async def _never(*message: Any) -> Any:
    """Of an exchange that is answered otherwise."""
    raise NotImplementedError
