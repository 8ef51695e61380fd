"""Questions with one answer."""

from contextlib import AsyncExitStack
from typing import Any

from msgspec.structs import replace

from engines.base import Engine, GenerateRequest, Prompt
from engines.registry.spec import ModelSpec
from server.api.peer.door import PeerDoor, PeerQuestion, leased
from server.api.peer.held import Held, HeldPrompts
from server.fairness.gate import Gate
from server.fairness.turn import FairTurn
from server.peers.wire import (
    EmbedCall,
    OpenCall,
    OpenedAlias,
    Pulse,
    RenderCall,
    RenderedPrompt,
    ScoreCall,
    packed_ids,
    told_vector,
)

_TOKEN_CHARACTERS = 4


class PulseQuestion(PeerQuestion[None]):
    """Does it live?"""

    async def answer(self, call: None) -> Pulse:
        node = self.services.site_node
        return Pulse(node.process, node.is_drained)


class OpenQuestion(PeerQuestion[OpenCall]):
    """Is the alias there? It is loaded where it is not."""

    kind = OpenCall

    async def answer(self, call: OpenCall) -> OpenedAlias:
        spec = self.door.model(call.alias)
        async with self.door.lease(spec.alias, call.patience_s) as engine:
            return OpenedAlias(engine.context_tokens, self.services.site_node.process)


class RenderQuestion(PeerQuestion[RenderCall]):
    """The prompt, which is kept a while."""

    kind = RenderCall

    def __init__(self, door: PeerDoor, held: HeldPrompts) -> None:
        super().__init__(door)
        self._held = held

    async def answer(self, call: RenderCall) -> RenderedPrompt:
        spec = self.door.model(call.alias)
        self._held.check_room()
        self.door.check_queue(spec.alias, call.asker.owner)
        request = self._as_here(call, spec)
        async with AsyncExitStack() as stack:
            engine = await leased(stack, self.door.lease(spec.alias, call.patience_s))
            prompt = await engine.render(request)
            return self._kept(Held(spec, engine, request, prompt, stack.pop_all()))

    def _kept(self, held: Held) -> RenderedPrompt:
        speech = held.request.speech
        language = None if speech is None else speech.language.code
        return RenderedPrompt(self._held.keep(held), _ids(held.prompt), language)

    def _as_here(self, call: RenderCall, spec: ModelSpec) -> GenerateRequest:
        """With this server's files, and its salt: an owner has one, whichever front asks."""
        asked = call.request
        salt = asked.cache_salt and self.services.prefix_salts.of(spec, call.asker.owner)
        return replace(asked, adapter=spec.adapter, cache_salt=salt)


class EmbedQuestion(PeerQuestion[EmbedCall]):
    kind = EmbedCall

    async def answer(self, call: EmbedCall) -> Any:
        cost = sum(map(len, call.inputs))
        async with TurnToRead(self.door, call, cost) as engine:
            found = await engine.embed(
                call.request_id, call.inputs, call.truncation, call.cache_salt
            )
        return [told_vector(each) for each in found]


class ScoreQuestion(PeerQuestion[ScoreCall]):
    kind = ScoreCall

    async def answer(self, call: ScoreCall) -> Any:
        cost = sum(len(pair.query) + len(pair.document) for pair in call.pairs)
        async with TurnToRead(self.door, call, cost) as engine:
            return await engine.score(call.request_id, call.pairs, call.options, call.cache_salt)


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


def _ids(prompt: Prompt) -> bytes:
    return packed_ids(prompt.token_ids)
