"""A bounded queue of requests that have ended, and the thread that exports them.

Of our own: the SDK's batch processor counts nothing that it drops, warns of each, and its shutdown
waits for a hanging collector for half a minute.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from engines.host.interpreter_turns import beside, give_way
from server import __version__
from server.tracing import wire
from server.tracing.collector import Collector, Sent
from server.tracing.facts import SpanPlace, TracedRequest, Traces
from server.tracing.spans import SpanMaker

log = logging.getLogger("fjord.traces")

EVERY_S: Final = 2.0
"""A POST costs the process as much as the spans of ten requests: few are made, of many."""
MOST_QUEUED: Final = 4096
"""Requests that wait for the collector, of about a KiB each."""
BATCH: Final = 256
"""Requests a POST, of some KiB each."""
FLUSH_S: Final = 1.0
"""At the server's end."""
PATIENCE_S: Final = (1.0, 30.0)
"""Between two tries at a collector that is away: at first, at most."""
WARN_EVERY_S: Final = 60.0
DROPS: Final = ("queue_full", "refused", "stopped")


class _Batch(NamedTuple):
    body: bytes
    requests: int


class TraceExport(Traces):
    """`ended` belongs to the event loop. What a collector that is away does not take waits, then
    is dropped and counted; nothing of the server ever waits for it."""

    def __init__(
        self, collector: Collector, maker: SpanMaker, about: Mapping[str, wire.Value]
    ) -> None:
        """`about`: the attributes of this server."""
        self._collector = collector
        self._maker = maker
        self._about = about
        self._queue: deque[TracedRequest] = deque()
        self._held: _Batch | None = None
        """What the collector did not take; sent again before anything else."""
        self._again_at = 0.0
        self._patience_s = PATIENCE_S[0]
        self._warned_at = -WARN_EVERY_S
        self._is_away = False
        self._exported = 0
        self._dropped = dict.fromkeys(DROPS, 0)
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    # On the event loop

    def ended(self, request: TracedRequest) -> None:
        if len(self._queue) >= MOST_QUEUED:
            self._dropped["queue_full"] += 1
        else:
            self._queue.append(request)

    def place(self, traceparent: Sequence[bytes], tracestate: Sequence[bytes]) -> SpanPlace:
        return self._maker.place(traceparent, tracestate)

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        # A daemon: a POST that hangs keeps no process from its end.
        self._thread = threading.Thread(target=self._run, args=(loop,), name="traces", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        self._stopping.set()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, FLUSH_S)
        left = len(self._queue) + (0 if self._held is None else self._held.requests)
        if left:
            self._dropped["stopped"] += left
            log.warning("%d traces were not exported: the server ends", left)

    # In the thread

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        while not self._stopping.wait(EVERY_S):
            if time.monotonic() >= self._again_at:
                self._deliver(loop)
        self._deliver(loop)
        self._collector.close()

    def _deliver(self, loop: asyncio.AbstractEventLoop) -> None:
        """All that waits, up to the first batch that is not taken."""
        while self._held is not None or self._queue:
            if self._held is None:
                self._held = self._next_batch(loop)
            sent = self._collector.send(self._held.body) if self._held.requests else Sent("taken")
            if not self._is_done_with(sent, self._held):
                return
            self._held = None

    def _next_batch(self, loop: asyncio.AbstractEventLoop) -> _Batch:
        spans: list[bytes] = []
        requests = 0
        with beside(loop):
            for _ in range(min(BATCH, len(self._queue))):
                made = self._spans(self._queue.popleft())
                spans += made
                requests += bool(made)
                give_way()
        return _Batch(wire.request(self._about, __version__, spans), requests)

    def _spans(self, request: TracedRequest) -> list[bytes]:
        try:
            return self._maker.spans(request)
        except Exception:  # a bug of ours ends no more than one trace
            log.exception("request %s has no trace", request.request_id)
            return []

    def _is_done_with(self, sent: Sent, batch: _Batch) -> bool:
        if sent.outcome == "away":
            self._wait(sent)
            return False
        self._again_at, self._patience_s = 0.0, PATIENCE_S[0]
        if sent.outcome == "taken":
            self._exported += batch.requests
            if self._is_away and batch.requests:
                self._is_away = False
                log.info("traces are exported to %s again", self._collector.address.place)
        else:
            self._dropped["refused"] += batch.requests
            self._warn("it refuses them", sent)
        return True

    def _wait(self, sent: Sent) -> None:
        self._again_at = time.monotonic() + self._patience_s
        self._patience_s = min(2 * self._patience_s, PATIENCE_S[1])
        self._warn(f"they wait, {MOST_QUEUED} at most", sent)

    def _warn(self, what: str, sent: Sent) -> None:
        self._is_away = True
        now = time.monotonic()
        if now - self._warned_at >= WARN_EVERY_S:
            self._warned_at = now
            place = self._collector.address.place
            log.warning("traces are not exported to %s (%s): %s", place, sent.why, what)

    # For /metrics

    def describe(self) -> Iterable[Metric]:
        return self.collect()

    def collect(self) -> Iterator[Metric]:
        text = "Requests whose traces the collector took."
        yield CounterMetricFamily("fjord_traces_exported", text, value=self._exported)
        text = "Requests whose traces were dropped: the queue was full, the collector refused them."
        dropped = CounterMetricFamily("fjord_traces_dropped", text, labels=["reason"])
        for reason, count in self._dropped.items():
            if reason != "stopped":
                dropped.add_metric([reason], count)
        yield dropped
        text = "Requests whose traces wait to be exported."
        waiting = len(self._queue) + (0 if self._held is None else self._held.requests)
        yield GaugeMetricFamily("fjord_traces_queued", text, value=waiting)
