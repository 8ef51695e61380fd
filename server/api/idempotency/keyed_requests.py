"""Requests that bring an Idempotency-Key: one runs, all others with its key get its answer.

header -> the key's entry -> new: it runs, its answer is kept before its end is seen
                          -> runs: its answer is followed from its beginning; another node's, once
                             it is whole
                          -> kept: it is said again
                          -> billed, not kept: 409, and no new charge
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from engines.host.worker_threads import WorkerThreads
from server.accounts.limits import Admission
from server.api.deadline import timeout_s
from server.api.idempotency.answers_by_key import AnswersByKey
from server.api.idempotency.claims import TROUBLES, Claim, KeyClaims
from server.api.idempotency.errors import cannot_forget, checked_key, given_up, other_body
from server.api.idempotency.exchange import KeyedExchange, follow
from server.api.idempotency.recording import RecordedAnswer
from server.api.idempotency.taken import TakenBody
from server.errors import ApiError
from server.http.exchange import Exchange
from server.http.request_log import line_of
from server.idempotency.answer_store import AnswerStore
from server.idempotency.entry import Answer, Entry
from server.idempotency.secret import SiteSecret
from server.ledger.records import Caller

HEADER: Final = b"idempotency-key"
SWEEP_S: Final = 600.0
"""Between two looks at what is older than a day."""
BEAT_S: Final = 5.0
"""Between two words to the other nodes that a request still runs."""
log = logging.getLogger("fjord.front")


@dataclass(frozen=True, slots=True)
class Asking:
    """One request with a key."""

    endpoint: AnswersByKey
    exchange: Exchange
    admission: Admission
    taken: TakenBody


class KeyedRequests:
    """One per server. Belongs to one event loop; its store is asked in `threads`."""

    def __init__(
        self,
        store: AnswerStore,
        read_secret: Callable[[], SiteSecret],
        *,
        threads: int,
        patience_s: float,
        longest_s: float,
        is_draining: Callable[[], bool],
        counted: Callable[[str], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`read_secret` blocks. `longest_s`: of a request."""
        self._store = store
        self._patience_s, self._longest_s = patience_s, longest_s
        self._counted = counted
        self.clock = clock
        self._threads = WorkerThreads(threads, "kept-answers")
        """Others' threads do not wait for the disk."""
        self._claims = KeyClaims(store, read_secret, self._threads, is_draining, counted)
        self._running: dict[bytes, RecordedAnswer] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        self._tasks += map(asyncio.ensure_future, (self._sweep(), self._beat()))

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.to_thread(self._threads.close)
        await asyncio.to_thread(self._store.close)

    async def forget_owner(self, owner: str) -> int:
        """Destroy its kept answers; how many there were. Its keys stay known. Raises ApiError."""
        secret = await self._claims.opened_secret()
        try:
            return await self._threads(self._store.forget_answers, secret.owner(owner))
        except TROUBLES as error:
            log.error("kept answers cannot be destroyed: %s", error)
            raise cannot_forget() from None

    def is_running(self, exchange: Exchange, caller: Caller, key: bytes) -> bool:
        """Whether a request with that key only has to hear what another is answered."""
        secret = self._claims.secret
        if not self._running or secret is None:
            return False
        name = key.decode("latin-1")
        return secret.name_of(caller.owner, exchange.scope["path"], name) in self._running

    async def serve(
        self, endpoint: AnswersByKey, exchange: Exchange, admission: Admission, key: bytes
    ) -> int:
        """Answer a request with that key; the tokens that it used itself. Raises ApiError and
        ClientLeft before the first byte."""
        text = await self._checked(exchange, key)
        taken = await endpoint.take(exchange, admission)
        work = self._served(Asking(endpoint, exchange, admission, taken), text)
        return await endpoint.serve_and_close(admission, taken, work)

    async def _checked(self, exchange: Exchange, key: bytes) -> str:
        given = [value for name, value in exchange.scope["headers"] if name == HEADER]
        try:
            return checked_key(key, given)
        except ApiError:
            await exchange.skip_body()
            raise

    async def _served(self, asking: Asking, key: str) -> int:
        entry = await self._entry(asking, key)
        while (recording := self._running.get(entry.entry_id)) is not None:
            try:
                await asyncio.shield(recording.claimed)
            except ApiError as error:
                if error.code != other_body().code:
                    raise
                continue  # that one had another body than the first: not this one, perhaps
            return await self._joined(asking, entry, recording)
        recording = self._running[entry.entry_id] = RecordedAnswer()
        try:
            claim = await self._claim(asking, entry, recording)
            if claim.is_first:
                return await self._first(asking, claim.entry, recording)
            return await self._joined(asking, entry, recording)
        finally:
            recording.abandon()
            self._runs_no_more(entry, recording)

    async def _entry(self, asking: Asking, key: str) -> Entry:
        secret = await self._claims.opened_secret()
        owner = asking.admission.caller.owner
        return Entry(
            entry_id=secret.name_of(owner, asking.exchange.scope["path"], key),
            owner=secret.owner(owner),
            print=secret.print_of(asking.taken.known_by),
            record_id=asking.endpoint.record_id(asking.exchange),
            began=self.clock(),
        )

    def _runs_no_more(self, entry: Entry, recording: RecordedAnswer) -> None:
        """Before anybody sees its end: who has seen it may ask again, or otherwise."""
        if self._running.get(entry.entry_id) is recording:
            del self._running[entry.entry_id]

    async def _claim(self, asking: Asking, entry: Entry, recording: RecordedAnswer) -> Claim:
        """Where it is not the first the recording has the answer. Raises ApiError."""
        try:
            claim = await self._claims.claimed(entry, partial(self._wait_s, asking))
        except BaseException as error:
            self._runs_no_more(entry, recording)
            recording.claimed.set_exception(error if isinstance(error, ApiError) else given_up())
            raise
        recording.print = claim.entry.print
        if claim.answer is not None:
            recording.fill(claim.answer)
            self._runs_no_more(entry, recording)
        recording.claimed.set_result(None)
        return claim

    def _wait_s(self, asking: Asking) -> float:
        """It waits for another node's answer no longer than for one of its own."""
        asking.endpoint.wait_for_another(asking.admission)
        return timeout_s(asking.exchange, self._longest_s)

    async def _joined(self, asking: Asking, entry: Entry, recording: RecordedAnswer) -> int:
        if recording.print != entry.print:
            self._counted("other_body")
            raise other_body()
        await asking.endpoint.check_again(asking.admission, asking.taken)
        await asking.endpoint.drop_taken(asking.admission, asking.taken)
        self._counted("replayed")
        line_of(asking.exchange.scope).note(replayed=True)
        following = self._following(recording, asking.exchange, again=True)
        await self._until_taken(following, asking.exchange)
        return 0

    def _following(
        self, recording: RecordedAnswer, exchange: Exchange, *, again: bool
    ) -> "asyncio.Task[None]":
        """Ends where its client leaves."""
        following = asyncio.ensure_future(follow(recording, exchange, self._patience_s, again))
        exchange.watch_disconnect(partial(_end, following))
        return following

    async def _first(self, asking: Asking, entry: Entry, recording: RecordedAnswer) -> int:
        self._counted("first")
        exchange = asking.exchange
        exchange.record_id = entry.record_id
        keyed = KeyedExchange(exchange, recording, asking.taken.body)
        recording.before_end = self._keeping(entry, keyed, recording)
        following = self._following(recording, exchange, again=False)
        try:
            tokens = await asking.endpoint.answered(keyed, asking.admission, asking.taken)
        finally:
            if not recording.is_over:
                recording.abandon()
                await self._on_disk(self._store.forget, entry)
        await self._until_taken(following, exchange)
        return tokens

    async def _until_taken(self, following: "asyncio.Task[None]", exchange: Exchange) -> None:
        try:
            await asyncio.wait([following])
        finally:
            exchange.unwatch()
            following.cancel()
        if following.cancelled():
            exchange.status = exchange.status or 499
        elif (error := following.exception()) is not None:
            log.error("request %s could not be answered", exchange.request_id, exc_info=error)
            exchange.drop()

    def _keeping(
        self, entry: Entry, keyed: KeyedExchange, recording: RecordedAnswer
    ) -> Callable[[bytes], Awaitable[None]]:
        async def keep(last: bytes) -> None:
            recording.code = keyed.code
            answer = recording.answer(last)
            if answer is not None:
                await self._on_disk(self._keep, entry, answer)
            elif recording.code or recording.status >= 300:
                await self._on_disk(self._store.forget, entry)
            else:
                await self._on_disk(self._store.end, entry)
            self._runs_no_more(entry, recording)

        return keep

    def _keep(self, entry: Entry, answer: Answer) -> None:
        assert self._claims.secret is not None
        sealed = self._claims.secret.seal(answer.packed(), entry.entry_id)
        if not self._store.keep(entry, sealed):
            log.warning("an answer is not kept for its key: there is no more room for any")

    async def _on_disk(self, work: Callable[..., None], *args: object) -> None:
        """What cannot be written is judged by the ledger when its key comes again."""
        try:
            await self._threads(work, *args)
        except TROUBLES as error:
            log.error("an answer could not be kept for its key: %s", error)

    async def _sweep(self) -> None:
        while True:
            await self._on_disk(self._store.expire, self.clock())
            await asyncio.sleep(SWEEP_S)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(BEAT_S)
            await self._on_disk(self._store.beat, tuple(self._running))


def _end(following: "asyncio.Task[None]") -> None:
    following.cancel()
