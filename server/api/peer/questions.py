"""Questions with one answer."""

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
    """`async with` it: an engine that reads, and the asker's turn on it."""

    def __init__(self, door: PeerDoor, call: EmbedCall | ScoreCall, characters: int) -> None:
        self._door, self._alias, asker = door, door.model(call.alias).alias, call.asker
        door.check_queue(self._alias, asker.owner)
        self._lease = door.lease(self._alias, call.patience_s)
        self._tokens = characters // _TOKEN_CHARACTERS + 1
        self._turn = FairTurn(asker.owner, asker.key_id, self._tokens, asker.service_class)
        self._gate: Gate | None = None

    async def __aenter__(self) -> Engine:
        engine = await self._lease.__aenter__()
        try:
            self._gate = self._door.services.gates.of(engine)
            self._gate.enter(self._turn, self._alias)
            if self._turn.waiter is not None:
                await self._turn.waiter
        except BaseException as error:
            await self.__aexit__(type(error), error, None)
            raise
        return engine

    async def __aexit__(self, kind: Any, error: Any, traceback: Any) -> None:
        if self._gate is not None:
            self._gate.leave(self._turn, self._tokens)
        await self._lease.__aexit__(kind, error, traceback)
        self._door.metrics.count(self._alias)
