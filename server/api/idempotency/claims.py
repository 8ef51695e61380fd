"""Whose a key is: asked of the store in threads, and again while another node answers it."""

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from engines.errors import EngineDead
from engines.host.worker_threads import WorkerThreads
from server.api.idempotency.errors import (
    cannot_remember,
    given_up,
    no_answer,
    other_body,
    still_running,
    too_many_keys,
)
from server.idempotency.answer_store import AnswerStore
from server.idempotency.entry import Answer, Entry, TooManyKeys, unpacked
from server.idempotency.secret import SiteSecret
from server.memory.errors import MemoryTrouble

POLL_S: Final = 0.5
"""Another node's request is looked at so often."""
TROUBLES: Final = (sqlite3.Error, OSError, EngineDead, MemoryTrouble)
log = logging.getLogger("fjord.front")


@dataclass(frozen=True, slots=True)
class Claim:
    """What is known of a key: `entry` is the request's own where it is the first, and has the key
    now; else it is that of the first."""

    entry: Entry
    is_first: bool
    answer: Answer | None = None


class KeyClaims:
    """Of one server. Belongs to one event loop."""

    def __init__(
        self,
        store: AnswerStore,
        read_secret: Callable[[], SiteSecret],
        threads: WorkerThreads,
        is_draining: Callable[[], bool],
        counted: Callable[[str], None],
    ) -> None:
        self._store, self._read_secret, self._threads = store, read_secret, threads
        self._is_draining, self._counted = is_draining, counted
        self.secret: SiteSecret | None = None
        self._opening = asyncio.Lock()

    async def opened_secret(self) -> SiteSecret:
        async with self._opening:  # two that made one would each name entries by its own
            if self.secret is None:
                self.secret = await self._secret()
        return self.secret

    async def _secret(self) -> SiteSecret:
        try:
            return await self._threads(self._read_secret)
        except OSError as error:
            log.error("the secret of kept answers cannot be used: %s", error)
            raise cannot_remember() from None

    async def claimed(self, entry: Entry, wait_s: Callable[[], float]) -> Claim:
        """Its key, or what is known of it; while another node answers it that is waited for, so
        long as `wait_s` says, which is asked where it has to wait. Raises ApiError."""
        secret = await self.opened_secret()
        claim = await self._looked_up(secret, entry)
        if claim.entry.runs:
            claim = await self._waited_for(secret, entry, time.monotonic() + wait_s())
        if not claim.is_first and claim.answer is None:
            self._counted("not_kept")
            raise other_body() if claim.entry.print != entry.print else no_answer()
        return claim

    async def _waited_for(self, secret: SiteSecret, entry: Entry, until: float) -> Claim:
        while (claim := await self._looked_up(secret, entry)).entry.runs:
            if claim.entry.print != entry.print:
                self._counted("other_body")
                raise other_body()
            if self._is_draining():
                raise given_up()
            if time.monotonic() > until:
                self._counted("still_running")
                raise still_running()
            await asyncio.sleep(POLL_S)
        return claim

    async def _looked_up(self, secret: SiteSecret, entry: Entry) -> Claim:
        try:
            return await self._threads(self._known, secret, entry)
        except TooManyKeys:
            raise too_many_keys() from None
        except TROUBLES as error:
            log.error("keys of requests cannot be written: %s", error)
            raise cannot_remember() from None

    def _known(self, secret: SiteSecret, entry: Entry) -> Claim:
        """Blocks."""
        found = self._store.claimed(entry)
        if found is entry:
            return Claim(entry, is_first=True)
        answer = _opened(secret, found)
        if answer is not None or found.runs:
            return Claim(found, is_first=False, answer=answer)
        return self._after(found, entry)

    def _after(self, found: Entry, entry: Entry) -> Claim:
        """Of a request that ended without an answer: a retry is the first again where nothing was
        charged, or is under the same record."""
        match self._store.fate(found):
            case "nothing":
                again = entry
            case "unknown" if found.print == entry.print:
                again = msgspec.structs.replace(entry, record_id=found.record_id)
            case _:
                return Claim(found, is_first=False)
        if self._store.replace(found, again):
            return Claim(again, is_first=True)
        return Claim(msgspec.structs.replace(found, runs=True), is_first=False)


def _opened(secret: SiteSecret, entry: Entry) -> Answer | None:
    packed = None if entry.answer is None else secret.unseal(entry.answer, entry.entry_id)
    try:
        return None if packed is None else unpacked(packed)
    except msgspec.MsgspecError:
        return None
