"""uvicorn with the signals of a server whose answers are billed: it drains before it ends."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections.abc import Callable, Coroutine, Iterator, Sequence
from functools import partial
from typing import Any

import uvicorn

from engines.fleet.fleet import Fleet
from server.cli.systemd import ServiceManager
from server.http.connection import SEND_TIMEOUT, Connection
from server.http.listener import Listener
from server.requests.supervisor import Supervisor

log = logging.getLogger("fjord.serve")

DATE_S = 1.0
"""Answers have the date of so long ago at most."""
CUT_S = 1.5
STOP_S = 5.5
"""Ctrl-C ends everything within 10 s, whatever the engines do: 1.5 s for answers that are cut to
bill what they made, 5.5 + 1 s for all engines at once (vLLM's own end may take 5), 1 s for threads.
"""


class DrainedServer(uvicorn.Server):
    """uvicorn, but a signal drains first: new connections are still taken, and told 503.

    SIGTERM gives running answers their time; Ctrl-C, or a second signal, none; a third ends the
    process on the spot (its engines are killed by their own watchers, open records become `lost`).
    """

    def __init__(
        self,
        config: uvicorn.Config,
        watch: Supervisor,
        fleet: Fleet,
        drain_timeout_s: float,
        manager: ServiceManager,
        listeners: Sequence[Listener],
        ops: uvicorn.Config | None = None,
    ) -> None:
        """`ops`: for what the operators' own listeners serve."""
        super().__init__(config)
        self._listeners = listeners
        self._ops = ops
        self._manager = manager
        self._watch = watch
        self._fleet = fleet
        self._drain_timeout_s = drain_timeout_s
        self._drains: list[asyncio.Task[None]] = []
        self._ended = asyncio.Event()
        self.on_hangup: Callable[[], Coroutine[Any, Any, str]] | None = None
        """What came of it, in words."""
        self._hangups: set[asyncio.Task[str]] = set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """uvicorn's own knows no bound for handshakes, and one kind of socket."""
        await super().startup([])
        send_timeout_s = self.lifespan.state[SEND_TIMEOUT]
        for listener in self._listeners:
            config = self._ops if listener.is_ops and self._ops is not None else self.config
            made = partial(Connection, config, self.server_state, self.lifespan.state)
            begun = await listener.serve(made, config.backlog, send_timeout_s)
            self.servers.append(begun)
        self._manager.ready("It listens; preloaded models are loaded.")

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """`sockets`: none but the listeners', which uvicorn closes at the end."""
        await super().serve([listener.socket for listener in self._listeners])

    async def main_loop(self) -> None:
        """uvicorn's own wakes ten times a second to see whether it is to end."""
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), DATE_S)

    def _end(self) -> None:
        self.should_exit = True
        self._ended.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        handled = (signal.SIGINT, signal.SIGTERM)
        for number in handled:
            loop.add_signal_handler(number, self._asked_to_stop, number)
        loop.add_signal_handler(signal.SIGHUP, self._hung_up)
        try:
            yield
        finally:
            for number in (*handled, signal.SIGHUP):
                loop.remove_signal_handler(number)

    def ends_where_refused(self, start: "asyncio.Task[None]") -> None:
        if not start.cancelled() and start.exception() is not None:
            self._end()

    def _hung_up(self) -> None:
        """An operator who has changed the registry, or a terminal that is closed: neither is a
        reason to lose running answers."""
        log.info("SIGHUP: the registry is read again; SIGTERM stops the server")
        if self.on_hangup is not None and not self._drains:
            self._manager.reloading()
            task = asyncio.get_running_loop().create_task(self.on_hangup())
            self._hangups.add(task)
            task.add_done_callback(self._reloaded)

    def _reloaded(self, task: "asyncio.Task[str]") -> None:
        self._hangups.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("the registry stays as it was: %s", error)
        if not self._hangups and not self._drains and not task.cancelled():
            self._manager.ready("It failed." if task.exception() else task.result())

    def _asked_to_stop(self, number: signal.Signals) -> None:
        if len(self._drains) >= 2:
            os._exit(128 + number)
        self._manager.stopping()
        is_patient = number == signal.SIGTERM and not self._drains
        end = self._drain() if is_patient else self._hasten()
        self._drains.append(asyncio.get_running_loop().create_task(end))

    async def _drain(self) -> None:
        await self._watch.drain(self._drain_timeout_s)
        self._end()

    async def _hasten(self) -> None:
        """The engines end while uvicorn waits for its clients, not after."""
        await self._watch.drain(0.0, CUT_S)
        self._end()
        await self._fleet.stop(STOP_S)
