"""An answer that is kept: each of its events is remembered, and its end is said once all of it is
durable."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import msgspec

from engines.base import Delta, Usage
from server.accounts.limits import Admission
from server.api.responses.asked import asked
from server.api.responses.event_log import EventLog
from server.api.responses.events import ResponseStream
from server.api.responses.items import kept_items, raw
from server.api.responses.wire_answers import Response
from server.error_body import Error
from server.errors import ApiError
from server.memory.background import parts_of
from server.memory.memory import Memory
from server.memory.response_rows import EventPart, KeptResponse, KeptTurn

_encode = msgspec.json.encode


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeping:
    """Where an answer goes, and what came before it."""

    memory: Memory
    owner: str
    given: tuple[msgspec.Raw, ...]
    """The items of its own input, as JSON."""
    previous: KeptResponse | None = None
    conversation_id: str | None = None
    is_asked: bool = True
    """Whether the request said so; else it is answered, and says `store: false`, where nothing can
    be kept."""
    admission: Admission | None = None
    """Whose key runs it in the background; None: its client waits."""
    is_followed: bool = False
    """Whether that client reads its events as they come."""

    def kept(self, response: Response) -> KeptResponse:
        """The response as it stands."""
        output = raw(response["output"])
        size = sum(len(bytes(item)) for item in (*self.given, *output))
        before = self.previous
        return KeptResponse(
            response_id=response["id"],
            owner=self.owner,
            created_at=response["created_at"],
            expires_at=self.memory.responses.owners.expiry(self.owner),
            status=response["status"],
            is_background=response["background"],
            previous_id=before.response_id if before else None,
            conversation_id=self.conversation_id,
            depth=before.depth + 1 if before else 1,
            context_bytes=(before.context_bytes if before else 0) + size,
            head=_encode({**response, "output": []}),
            turn=KeptTurn(input=self.given, output=output),
        )


_PAUSES_S: Final = (0.5, 1.0, 2.0, 4.0)
"""Before a database that is away is asked again."""


class KeptAnswer:
    """A stream's shape and a whole answer's: `kept` is its plan's. Belongs to the event loop."""

    def __init__(self, stream: ResponseStream, keeping: Keeping) -> None:
        self.stream, self.keeping = stream, keeping
        self.log = EventLog()
        self.part = 0
        """Parts of its events that are kept already."""
        self._saving = asyncio.Lock()
        self._end = b""
        self._is_whole = False
        self._has_begun = False

    @property
    def response(self) -> Response:
        return self.stream.response

    def as_queued(self) -> bytes:
        """The response as JSON, before it runs."""
        return _encode({**self.response, "status": "queued"})

    def queued(self) -> bytes:
        return self._said(self.stream.queued())

    def open(self) -> bytes:
        self._has_begun = True
        return self._said(self.stream.open())

    def delta(self, d: Delta) -> bytes:
        return self._said(self.stream.delta(d))

    def add(self, d: Delta) -> None:
        self._is_whole = True
        if not self._has_begun:
            self.open()
        self.delta(d)

    def close(self, usage: Usage) -> bytes:
        self._end = self.stream.close(usage)
        return self._end

    def body(self, usage: Usage) -> bytes:
        self.close(usage)
        return _encode(self.response)

    def fail(self, body: Error) -> bytes:
        self._end = self.stream.fail(body)
        return self._end

    def _said(self, events: bytes) -> bytes:
        if events:
            self.log.add(events)
        return events

    async def __call__(self, said: bytes) -> bytes:
        """As an AnswerKeeper: once its events, its items and itself are durable."""
        try:
            await self._keep_end()
        except ApiError as error:
            if self._is_whole and self.keeping.is_asked:
                raise
            said = self._in_place_of_the_end(error)
            if self._is_in_background:
                with suppress(ApiError):  # then it is lost, and a sweep says so
                    await self.keep(said)
            self._said(b"" if self._is_whole else said)
        else:
            self._said(self._end)
        finally:
            self.log.end()
        return said

    @property
    def _is_in_background(self) -> bool:
        return self.keeping.admission is not None

    async def _keep_end(self) -> None:
        """In the background again and again for a while: nobody else has what it said."""
        for pause_s in _PAUSES_S if self._is_in_background else ():
            try:
                await self.keep(self._end)
            except ApiError as error:
                if error.status != 503:
                    raise
            else:
                return
            await asyncio.sleep(pause_s)
        await self.keep(self._end)

    def _in_place_of_the_end(self, error: ApiError) -> bytes:
        """Its items' ends, and why it is not there, or that it is not kept."""
        if self.response["status"] in ("failed", "cancelled"):
            return self._end
        last = self._end.rfind(b"\n\n", 0, -2) + 2
        before = self._end[: last if last > 1 else 0]
        if not self.keeping.is_asked:
            end = before + self.stream.unkept()
            return _encode(self.response) if self._is_whole else end
        self.stream.take_back_end()
        return before + self.stream.fail(error.body())

    async def keep(self, end: bytes) -> None:
        """Raises ApiError; then nothing of the end is kept."""
        async with self._saving:
            new = self.log.unkept()
            await asked(self._keep, parts_of(new + end, self.part, self.log.first_number))
            self.log.drop(new)

    def _keep(self, parts: Sequence[EventPart]) -> None:
        """In a thread."""
        keeping, response = self.keeping, self.response
        kept = keeping.kept(response)
        is_turn = response["status"] in ("completed", "incomplete") and kept.conversation_id
        added = (*kept.turn.input, *kept.turn.output) if is_turn else ()
        ids = [item["id"] for item in response["output"]]
        to_conversation = kept_items(added)
        keeping.memory.keep(kept, parts, ids, to_conversation, is_bound=keeping.is_asked)

    async def note(self, *, is_running: bool) -> bool:
        """Keep its events so far; whether it is to go on. Raises ApiError."""
        keep, owner = self.keeping.memory.background.add, self.keeping.owner
        async with self._saving:
            if self.log.is_over:
                return True
            new = self.log.unkept()
            parts = parts_of(new, self.part, self.log.first_number)
            goes_on = await asked(keep, owner, self.response["id"], parts, is_running=is_running)
            if goes_on:
                self.part += len(parts)
                self.log.drop(new)
        return goes_on

    def follow(self, number: int, patience_s: float) -> AsyncIterator[bytes]:
        """Its events from a number on, as they come; b"": nothing came for so long."""
        return self.log.follow(number, patience_s, self._earlier)

    async def _earlier(self, number: int) -> bytes:
        """Some that are kept. Raises ApiError."""
        read, owner = self.keeping.memory.responses.events_from, self.keeping.owner
        return await asked(read, self.response["id"], owner, number)

    def cancelled(self) -> bytes:
        self.stream.cancelled()
        self._end = b""
        return self._end
