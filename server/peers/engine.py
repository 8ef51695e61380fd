"""An alias on another server of the site: an Engine of this one."""

import copy
import math
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from engines.base import (
    Delta,
    Embedding,
    EngineBehindDead,
    EngineDead,
    EngineUnavailable,
    GenerateRequest,
    PairOptions,
    Prompt,
    Score,
    Sink,
    TextPair,
    Truncation,
)
from server.fairness.gate import TurnPlace
from server.peers.client import PeerClient
from server.peers.prompts import HeldPrompt
from server.peers.replies import PeerLost, understood
from server.peers.stream import Gone, PeerStream
from server.peers.wire import (
    SCORES,
    VECTORS,
    Asker,
    EmbedCall,
    GenerateCall,
    OpenCall,
    OpenedAlias,
    RenderCall,
    RenderedPrompt,
    ScoreCall,
    decoder,
    encode,
    heard_vector,
    unpacked_ids,
)

PATIENCE_S: Final = 7 * 86400.0
"""A node gives up a wait after so long at most, should this server have forgotten it."""
_ON_ITS_WAY_S: Final = 0.2
"""A node that gives up says so before the request's own deadline passes here."""
PROMPT_TRIES: Final = 3
_OPENED = decoder(OpenedAlias)
_RENDERED = decoder(RenderedPrompt)


class Standing:
    """Of an alias on a node, as all know it who ask there."""

    is_reluctant = False
    """An operator keeps new work from the node, or its engine is not there now: others are asked
    first."""


class PeerEngine:
    """Satisfies engines.base.Engine. Generates on the node, is billed here."""

    def __init__(self, alias: str, client: PeerClient) -> None:
        self.context_tokens = 0
        self._standing = Standing()
        self._alias, self._client = alias, client
        self._process = ""
        self._streams: dict[str, PeerStream] = {}
        """By the request's id."""
        self._asker, self._deadline = Asker("", ""), math.inf
        self._goes_on = False

    @property
    def is_reluctant(self) -> bool:
        return self._standing.is_reluctant

    def on_behalf_of(self, asker: Asker, deadline: float, *, goes_on: bool = False) -> "PeerEngine":
        """The same, asked for somebody, who waits until `deadline` (time.monotonic()). `goes_on`:
        the one prompt that is made is generated then, and the node need not be asked again."""
        other = copy.copy(self)
        other._asker, other._deadline, other._goes_on = asker, deadline, goes_on
        return other

    @property
    def _patience_s(self) -> float:
        left = self._deadline - time.monotonic() - _ON_ITS_WAY_S
        return max(_ON_ITS_WAY_S, min(left, PATIENCE_S))

    async def start(self) -> None:
        self._client.used_by(self)
        await self._client.find()
        call = encode(OpenCall(self._alias, PATIENCE_S))
        answer = await self._client.ask("open", call)
        opened: OpenedAlias = understood(self._client.node, _OPENED.decode, answer)
        self.context_tokens, self._process = opened.context_tokens, opened.process

    async def stop(self) -> None:
        for stream in list(self._streams.values()):
            stream.end(EngineDead(f"the server {self._client.node} is asked no more"))
        self._client.left_by(self)

    async def check(self, timeout_s: float) -> None:
        pulse = await self._client.pulse(timeout_s)
        if pulse.process != self._process:
            raise EngineDead(f"the server {self._client.node} started again")
        self._standing.is_reluctant = pulse.is_drained or self._alias in pulse.away

    async def render(self, request: GenerateRequest) -> Prompt:
        return await self._rendered(request, goes_on=self._goes_on)

    async def _rendered(self, request: GenerateRequest, *, goes_on: bool) -> Prompt:
        call = RenderCall(self._alias, request, self._asker, self._patience_s, goes_on)
        with self._noting_death():
            reply, stream = await self._client.rendered(encode(call), request.sampling.n)
        try:
            found: RenderedPrompt = understood(self._client.node, _RENDERED.decode, reply)
            ids = understood(self._client.node, unpacked_ids, found.token_ids)
        except EngineUnavailable:
            stream.close()
            raise
        if request.speech is not None:
            request.speech.language.code = found.language
        held = HeldPrompt(found.held, request, self._client, stream)
        return Prompt(token_ids=ids, rendered=held)

    async def generate(
        self, request: GenerateRequest, prompt: Prompt, sink: Sink | None = None
    ) -> AsyncGenerator[Delta, None]:
        held: HeldPrompt = prompt.rendered
        for left in reversed(range(PROMPT_TRIES)):
            call, stream = await self._begun(request, held)
            self._streams[request.request_id] = stream
            try:
                with self._noting_death():
                    async for delta in stream.deltas(call, sink):
                        yield delta
                return
            except Gone:  # it kept us waiting, or was asked on a connection that had ended
                if not left:
                    raise EngineUnavailable("The prompt was lost between two servers.") from None
            except PeerLost as error:
                await self._client.pulse()
                if stream.has_begun or not left:
                    raise EngineUnavailable(
                        f"The connection to the server {self._client.node} was lost."
                    ) from error
            finally:
                stream.close()
                self._streams.pop(request.request_id, None)
            held = (await self._rendered(held.request, goes_on=False)).rendered

    async def _begun(
        self, request: GenerateRequest, held: HeldPrompt
    ) -> tuple[bytes | None, PeerStream]:
        """What is to be asked, if anything, and where it is heard."""
        if (going := held.going(request)) is not None:
            return None, going
        if not (handle := held.taken()):
            again: HeldPrompt = (await self._rendered(held.request, goes_on=False)).rendered
            handle = again.taken()
        channel = await self._client.open_channel()
        stream = PeerStream(channel, self._client.node, request.sampling.n)
        return self._call(request, handle), stream

    @contextmanager
    def _noting_death(self) -> Iterator[None]:
        """Who asks next asks another node, while there is one."""
        try:
            yield
        except EngineBehindDead:
            self._standing.is_reluctant = True
            raise

    def _call(self, request: GenerateRequest, handle: str) -> bytes:
        sampling, left_s = request.sampling, self._patience_s
        return encode(GenerateCall(handle, sampling, request.priority, self._asker, left_s))

    def place(self, request_id: str) -> TurnPlace | None:
        """Where a request waits for its turn on the node; None: it does not, as far as is known."""
        stream = self._streams.get(request_id)
        return None if stream is None or stream.has_begun else stream.place

    async def abort(self, request_id: str) -> None:
        if (stream := self._streams.get(request_id)) is not None:
            stream.abort()

    async def embed(
        self,
        request_id: str,
        inputs: Sequence[str | Sequence[int]],
        truncation: Truncation | None = None,
        cache_salt: str | None = None,
    ) -> list[Embedding]:
        call = EmbedCall(
            self._alias,
            request_id,
            [each if isinstance(each, str) else list(each) for each in inputs],
            truncation,
            cache_salt,
            self._asker,
            self._patience_s,
        )
        with self._noting_death():
            reply = await self._client.ask("embed", encode(call))
        return understood(self._client.node, _heard_vectors, reply)

    async def score(
        self,
        request_id: str,
        pairs: Sequence[TextPair],
        options: PairOptions,
        cache_salt: str | None = None,
    ) -> list[Score]:
        asked = self._asker, self._patience_s
        call = ScoreCall(self._alias, request_id, list(pairs), options, cache_salt, *asked)
        with self._noting_death():
            reply = await self._client.ask("score", encode(call))
        found: list[Score] = understood(self._client.node, SCORES.decode, reply)
        return found


def _heard_vectors(reply: bytes) -> list[Embedding]:
    return [heard_vector(each) for each in VECTORS.decode(reply)]
