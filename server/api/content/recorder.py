"""A request that has ended -> a sealed row. Nobody waits for it: what finds no room is dropped, and
counted."""

import asyncio
import base64
import logging
import time
from codecs import getincrementaldecoder
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any, Final

import msgspec
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from server.api.content.shape import shape_of
from server.errors import ApiError
from server.http.asgi import Receive, Scope, Send
from server.http.encoding import decoded_body
from server.http.exchange import Exchange
from server.http.exchange_copy import ExchangeCopy, WireCopy
from server.ids import new_id
from server.ledger.levels import kept_at
from server.ledger.records import Caller, ContentMode
from server.memory.errors import MemoryFull, MemoryTrouble
from server.memory.kept_requests import KeptRequest
from server.memory.memory import Memory

HEADER: Final = b"x-content-kept"
MOST_BYTES: Final = 2**20
"""Of a body, and of an answer."""
MOST_PATH: Final = 1000
MOST_WAITING: Final = 64
STOP_S: Final = 5.0
_KEPT: Final = "Requests whose content, or shape, was kept, by mode."
_DROPPED: Final = "Requests whose content was to be kept and was not: busy, full, away, failed."

log = logging.getLogger("fjord.content")


class ContentRecorder(Collector):
    """Belongs to one event loop; seals and writes on worker threads, one request at a time."""

    def __init__(self, memory: Memory | None) -> None:
        """None: this server has no memory, so nothing is kept."""
        self._store = None if memory is None else memory.requests
        self._waiting: asyncio.Queue[tuple[ExchangeCopy, KeptRequest, bytes]] = asyncio.Queue(
            MOST_WAITING
        )
        self._kept = {"metadata": 0, "full": 0}
        self._dropped = dict.fromkeys(("busy", "full", "away", "failed"), 0)
        self._task: asyncio.Task[None] | None = None
        self._writing = asyncio.Lock()
        self._forgotten_at: dict[str, float] = {}
        """By owner, as ExchangeCopy has its times."""

    def mode(self, caller: Caller) -> ContentMode | None:
        """What is kept of this caller's request now; None: nothing."""
        if self._store is None:
            return None
        return kept_at(caller.content, time.time())

    def begin(
        self, mode: ContentMode, scope: Scope, receive: Receive, send: Send
    ) -> tuple[ExchangeCopy, Receive, Send]:
        """Of a form, which may be a gigabyte, nothing is copied but its length."""
        kinds = [value.lower() for name, value in scope["headers"] if name == b"content-type"]
        is_form = any(kind.lstrip().startswith(b"multipart/") for kind in kinds)
        body = 0 if is_form else MOST_BYTES
        recording = ExchangeCopy(receive, send, body, MOST_BYTES if mode == "full" else 0)
        return recording, recording.receive, recording.send

    def end(
        self, recording: ExchangeCopy, mode: ContentMode, exchange: Exchange, caller: Caller
    ) -> None:
        """It was answered, or its client has left."""
        kept = KeptRequest(
            kept_id="kept_" + new_id(24),
            request_id=exchange.request_id,
            owner=caller.owner,
            key_id=caller.key_id,
            at=int(time.time()),
            mode=mode,
            path=exchange.scope["path"].replace("\0", "\ufffd")[:MOST_PATH],
            status=exchange.status,
        )
        encoding = dict(exchange.scope["headers"]).get(b"content-encoding", b"")
        try:
            self._waiting.put_nowait((recording, kept, encoding))
        except asyncio.QueueFull:
            self._drop("busy")

    async def forget(self, owner: str) -> None:
        """Nothing of a request that has begun by now is written any more."""
        self._forgotten_at[owner] = time.monotonic()
        async with self._writing:
            pass

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="content")

    async def stop(self) -> None:
        """What still waits is written, for a while."""
        if self._task is None:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_S):
                await self._waiting.join()
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    async def _run(self) -> None:
        while True:
            recording, kept, encoding = await self._waiting.get()
            try:
                async with self._writing:
                    if recording.began_at <= self._forgotten_at.get(kept.owner, -1.0):
                        continue
                    await asyncio.to_thread(self._keep, recording, kept, encoding)
                self._kept[kept.mode] += 1
            except MemoryFull:
                self._drop("full")
            except MemoryTrouble:
                self._drop("away")
            except Exception:
                log.exception("the content of request %s is not kept", kept.request_id)
                self._drop("failed")
            finally:
                self._waiting.task_done()

    def _keep(self, recording: ExchangeCopy, kept: KeptRequest, encoding: bytes) -> None:
        assert self._store is not None
        content = content_of(recording, kept.mode, encoding)
        self._store.keep(msgspec.structs.replace(kept, content=msgspec.json.encode(content)))

    def _drop(self, reason: str) -> None:
        if not self._dropped[reason]:
            log.warning("the content of a request was to be kept and is not: %s", reason)
        self._dropped[reason] += 1

    def describe(self) -> Iterable[Metric]:
        return [self._family("kept", _KEPT, "mode"), self._family("dropped", _DROPPED, "reason")]

    def collect(self) -> Iterator[Metric]:
        for name, text, label, counts in (
            ("kept", _KEPT, "mode", self._kept),
            ("dropped", _DROPPED, "reason", self._dropped),
        ):
            family = self._family(name, text, label)
            for value, count in counts.items():
                family.add_metric([value], count)
            yield family

    def _family(self, name: str, text: str, label: str) -> CounterMetricFamily:
        return CounterMetricFamily(f"fjord_content_{name}", text, labels=[label])


def content_of(recording: ExchangeCopy, mode: ContentMode, encoding: bytes) -> dict[str, Any]:
    """As it is kept."""
    body = _unpacked(recording.body, encoding)
    sizes = {"body_bytes": recording.body.length, "answer_bytes": recording.answer.length}
    if mode != "full":
        return {"shape": shape_of(body), **sizes}
    return {
        "body": _text(body, is_cut=recording.body.is_cut),
        "body_is_cut": recording.body.is_cut,
        "answer": _text(bytes(recording.answer.content), is_cut=recording.answer.is_cut),
        "answer_is_cut": recording.answer.is_cut,
        "answer_type": recording.content_type.decode("latin-1"),
        **sizes,
    }


def _unpacked(copy: WireCopy, encoding: bytes) -> bytes:
    """As it was before gzip or zstd, where all of it is there."""
    body = bytes(copy.content)
    if not encoding or copy.is_cut:
        return body
    try:
        return decoded_body(encoding, body, MOST_BYTES)
    except ApiError:
        return body


def _text(content: bytes, *, is_cut: bool) -> str | dict[str, str]:
    """Of a character that was cut in two nothing is told."""
    try:
        return getincrementaldecoder("utf-8")().decode(content, final=not is_cut)
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(content).decode()}
