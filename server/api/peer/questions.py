"""Questions with one answer."""

import asyncio
import time
from typing import Any

from engines.base import Engine
from server.api.peer.door import PeerDoor, PeerQuestion, own_name
from server.fairness.gate import Gate
from server.fairness.turn import FairTurn
from server.peers.wire import (
    EmbedCall,
    OpenCall,
    OpenedAlias,
    Pulse,
    ScoreCall,
    told_vector,
)
from server.requests.live import LiveRun
from server.requests.outcomes import Cut

_TOKEN_CHARACTERS = 4


class PulseQuestion(PeerQuestion[None]):
    """Does it live?"""

    async def answer(self, call: None) -> Pulse:
        node, statuses = self.services.site_node, self.services.fleet.statuses()
        up = {alias for status in statuses if status.state == "ready" for alias in status.aliases}
        away = {alias for status in statuses for alias in status.aliases} - up
        return Pulse(node.process, node.is_drained, sorted(away))


class OpenQuestion(PeerQuestion[OpenCall]):
    """Is the alias there? It is loaded where it is not."""

    kind = OpenCall

    async def answer(self, call: OpenCall) -> OpenedAlias:
        spec = self.door.model(call.alias)
        async with self.door.lease(spec.alias, call.patience_s) as engine:
            return OpenedAlias(engine.context_tokens, self.services.site_node.process)


class EmbedQuestion(PeerQuestion[EmbedCall]):
    kind = EmbedCall

    async def answer(self, call: EmbedCall) -> Any:
        cost = sum(map(len, call.inputs))
        async with TurnToRead(self.door, call, cost) as engine:
            found = await engine.embed(
                own_name(call.request_id), call.inputs, call.truncation, call.cache_salt
            )
        return [told_vector(each) for each in found]


class ScoreQuestion(PeerQuestion[ScoreCall]):
    kind = ScoreCall

    async def answer(self, call: ScoreCall) -> Any:
        cost = sum(len(pair.query) + len(pair.document) for pair in call.pairs)
        async with TurnToRead(self.door, call, cost) as engine:
            name = own_name(call.request_id)
            return await engine.score(name, call.pairs, call.options, call.cache_salt)


class TurnToRead:
    """`async with` it: an engine that reads, and the asker's turn on it. Supervised: a queue counts
    it, and a drain waits for it."""

    sequences = 1

    def __init__(self, door: PeerDoor, call: EmbedCall | ScoreCall, characters: int) -> None:
        self._door, self.alias, asker = door, door.model(call.alias).alias, call.asker
        self.owner, self._waits_since = asker.owner, time.monotonic()
        door.check_queue(self.alias, asker.owner)
        self._lease = door.lease(self.alias, call.patience_s)
        self._is_inside = False
        self._task = asyncio.current_task()
        self._tokens = characters // _TOKEN_CHARACTERS + 1
        self._turn = FairTurn(asker.owner, asker.key_id, self._tokens, asker.service_class)
        self._gate: Gate | None = None

    async def __aenter__(self) -> Engine:
        self._door.services.supervisor.add(self)
        try:
            engine = await self._lease.__aenter__()
            self._gate = self._door.services.gates.of(engine)
            self._gate.enter(self._turn, self.alias)
            if self._turn.waiter is not None:
                await self._turn.waiter
        except BaseException as error:
            await self.__aexit__(type(error), error, None)
            raise
        self._is_inside = True
        return engine

    async def __aexit__(self, kind: Any, error: Any, traceback: Any) -> None:
        if self._gate is not None:
            self._gate.leave(self._turn, self._tokens)
        try:
            await self._lease.__aexit__(kind, error, traceback)
        finally:
            self._door.services.supervisor.remove(self)
        self._door.metrics.count(self.alias)

    def tick(self, now: float) -> None:
        """The asker's deadline is its own to keep."""

    def cut(self, why: Cut) -> None:
        if self._task is not None:
            self._task.cancel()

    def live(self) -> LiveRun:
        return LiveRun(waits_since=None if self._is_inside else self._waits_since)
