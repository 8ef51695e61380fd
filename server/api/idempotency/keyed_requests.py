"""Requests that bring an Idempotency-Key: one runs, all others with its key get its answer.

header -> the key's entry -> new: it runs, its answer is kept before its end is seen
                          -> runs: its answer is followed from its beginning
                          -> kept: it is said again
                          -> billed, not kept: 409, and no new charge
"""

import asyncio
import logging
import sqlite3
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from engines.errors import EngineDead
from engines.host.worker_threads import WorkerThreads
from server.accounts.limits import Admission
from server.api.idempotency.answers_by_key import AnswersByKey
from server.api.idempotency.errors import (
    checked_key,
    disk_refuses,
    given_up,
    no_answer,
    other_body,
    too_many_keys,
)
from server.api.idempotency.exchange import KeyedExchange, follow
from server.api.idempotency.recording import RecordedAnswer
from server.errors import ApiError
from server.http.exchange import Exchange
from server.http.request_log import line_of
from server.idempotency.entry import Answer, Entry, unpacked
from server.idempotency.secret import SiteSecret, site_secret
from server.idempotency.store import KeptAnswers, TooManyKeys
from server.ledger.records import Caller

HEADER: Final = b"idempotency-key"
SWEEP_S: Final = 600.0
"""Between two looks at what is older than a day."""
log = logging.getLogger("fjord.front")


class KeyedRequests:
    """One per server. Belongs to one event loop; its disk is asked in threads."""

    def __init__(
        self,
        data_dir: Path,
        *,
        most_bytes: int,
        most_body: int,
        patience_s: float,
        charged: Callable[[str], int | None],
        counted: Callable[[str], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`charged` blocks: what the record of that id was charged, None where there is none."""
        self._data_dir = data_dir
        self._store = KeptAnswers(data_dir, most_bytes)
        self._most_body = most_body
        self._patience_s = patience_s
        self._charged = charged
        self._counted = counted
        self.clock = clock
        self._secret: SiteSecret | None = None
        self._opening = asyncio.Lock()
        self._threads = WorkerThreads(1, "kept-answers")
        """One: the disk takes one transaction at a time, and others' threads do not wait for it."""
        self._running: dict[bytes, RecordedAnswer] = {}
        self._sweeping: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._sweeping = asyncio.ensure_future(self._sweep())

    async def stop(self) -> None:
        if self._sweeping is not None:
            self._sweeping.cancel()
        self._threads.close()
        await asyncio.to_thread(self._store.close)

    async def forget_owner(self, owner: str) -> int:
        """Destroy its kept answers; how many there were. Its keys stay known."""
        secret = await self._opened_secret()
        return await self._threads(self._store.forget_answers, secret.name_of(owner))

    def is_running(self, exchange: Exchange, caller: Caller, key: bytes) -> bool:
        """Whether a request with that key only has to hear what another is answered."""
        if not self._running or self._secret is None:
            return False
        name = key.decode("latin-1")
        return self._secret.name_of(caller.owner, exchange.scope["path"], name) in self._running

    async def serve(
        self, endpoint: AnswersByKey, exchange: Exchange, admission: Admission, key: bytes
    ) -> int:
        """Answer a request with that key; the tokens that it used itself. Raises ApiError and
        ClientLeft before the first byte."""
        text = checked_key(
            key, [value for name, value in exchange.scope["headers"] if name == HEADER]
        )
        body = await exchange.body(self._most_body)
        secret = await self._opened_secret()
        owner = admission.caller.owner
        entry = Entry(
            entry_id=secret.name_of(owner, exchange.scope["path"], text),
            owner=secret.name_of(owner),
            print=secret.print_of(body),
            record_id=endpoint.record_id(exchange),
            began=self.clock(),
        )
        recording = self._running.get(entry.entry_id)
        if recording is not None:
            await asyncio.shield(recording.claimed)
            return await self._joined(endpoint, exchange, admission, entry, recording, body)
        recording = self._running[entry.entry_id] = RecordedAnswer()
        try:
            if not await self._claim(secret, entry, recording):
                return await self._joined(endpoint, exchange, admission, entry, recording, body)
            return await self._first(endpoint, exchange, admission, entry, recording, body)
        finally:
            recording.abandon()
            self._runs_no_more(entry, recording)

    def _runs_no_more(self, entry: Entry, recording: RecordedAnswer) -> None:
        """Before anybody sees its end: who has seen it may ask again, or otherwise."""
        if self._running.get(entry.entry_id) is recording:
            del self._running[entry.entry_id]

    async def _claim(self, secret: SiteSecret, entry: Entry, recording: RecordedAnswer) -> bool:
        """Whether it is a new one; else the recording has its answer. Raises ApiError."""
        try:
            found, answer = await self._looked_up(secret, entry)
        except BaseException as error:
            recording.claimed.set_exception(error if isinstance(error, ApiError) else given_up())
            raise
        recording.print = found.print
        if answer is not None:
            recording.fill(answer)
            self._runs_no_more(entry, recording)
        recording.claimed.set_result(None)
        return found is entry

    async def _looked_up(self, secret: SiteSecret, entry: Entry) -> tuple[Entry, Answer | None]:
        try:
            found, answer = await self._threads(self._known, secret, entry)
        except (sqlite3.Error, OSError, EngineDead) as error:
            log.error("keys of requests cannot be written: %s", error)
            raise disk_refuses() from None
        except TooManyKeys:
            raise too_many_keys() from None
        if found is not entry and answer is None:
            self._counted("not_kept")
            raise other_body() if found.print != entry.print else no_answer()
        return found, answer

    def _known(self, secret: SiteSecret, entry: Entry) -> tuple[Entry, Answer | None]:
        """Blocks. The entry itself where it is a new one, also one whose first try was charged
        nothing."""
        found = self._store.claimed(entry)
        if found is entry:
            return entry, None
        answer = _opened(secret, found)
        if answer is None and found.record_id and not self._charged(found.record_id):
            self._store.forget(found.entry_id)
            found = self._store.claimed(entry)
        return found, answer

    async def _joined(
        self,
        endpoint: AnswersByKey,
        exchange: Exchange,
        admission: Admission,
        entry: Entry,
        recording: RecordedAnswer,
        body: bytes,
    ) -> int:
        if recording.print != entry.print:
            self._counted("other_body")
            raise other_body()
        await endpoint.check_again(admission, body)
        self._counted("replayed")
        line_of(exchange.scope).note(replayed=True)
        following = self._following(recording, exchange, again=True)
        await self._until_taken(following, exchange)
        return 0

    def _following(
        self, recording: RecordedAnswer, exchange: Exchange, *, again: bool
    ) -> "asyncio.Task[None]":
        """Ends where its client leaves."""
        following = asyncio.ensure_future(follow(recording, exchange, self._patience_s, again))
        exchange.watch_disconnect(partial(_end, following))
        return following

    async def _first(
        self,
        endpoint: AnswersByKey,
        exchange: Exchange,
        admission: Admission,
        entry: Entry,
        recording: RecordedAnswer,
        body: bytes,
    ) -> int:
        self._counted("first")
        exchange.record_id = entry.record_id
        keyed = KeyedExchange(exchange, recording, body)
        recording.before_end = self._keeping(entry, keyed, recording)
        following = self._following(recording, exchange, again=False)
        try:
            tokens = await endpoint.answered(keyed, admission)
        finally:
            if not recording.is_over:
                recording.abandon()
                await self._on_disk(self._store.forget, entry.entry_id)
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
                await self._on_disk(self._store.forget, entry.entry_id)
            self._runs_no_more(entry, recording)

        return keep

    def _keep(self, entry: Entry, answer: Answer) -> None:
        assert self._secret is not None
        sealed = self._secret.seal(answer.packed(), entry.entry_id)
        if not self._store.keep(entry, sealed):
            log.warning("an answer is not kept for its key: there is no more room for any")

    async def _on_disk(self, work: Callable[..., None], *args: object) -> None:
        """What cannot be written is judged by the ledger when its key comes again."""
        try:
            await self._threads(work, *args)
        except (sqlite3.Error, OSError, EngineDead) as error:
            log.error("an answer could not be kept for its key: %s", error)

    async def _opened_secret(self) -> SiteSecret:
        async with self._opening:  # two that made one would each name entries by its own
            if self._secret is None:
                self._secret = await self._read_secret()
        return self._secret

    async def _read_secret(self) -> SiteSecret:
        try:
            return await self._threads(site_secret, self._data_dir)
        except OSError as error:
            log.error("the secret of kept answers cannot be used: %s", error)
            raise disk_refuses() from None

    async def _sweep(self) -> None:
        while True:
            await self._on_disk(self._store.expire, self.clock())
            await asyncio.sleep(SWEEP_S)


def _opened(secret: SiteSecret, entry: Entry) -> Answer | None:
    packed = None if entry.answer is None else secret.unseal(entry.answer, entry.entry_id)
    try:
        return None if packed is None else unpacked(packed)
    except msgspec.MsgspecError:
        return None


def _end(following: "asyncio.Task[None]") -> None:
    following.cancel()
