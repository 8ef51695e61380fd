"""`fjord serve`: check, bind and build everything; then uvicorn runs the app until a signal."""

import asyncio
import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import Coroutine, Iterator
from functools import partial
from pathlib import Path
from typing import Any, cast

import uvicorn
import uvloop

from engines.fleet.fleet import Fleet
from engines.joined.facts import facts_name, these_facts
from engines.joined.nodes import JoinedNodes
from engines.registry.registry import Registry
from server import __version__
from server.accounts.auth import KeyRing
from server.accounts.node_token import node_token
from server.accounts.operator_token import operator_token
from server.api.exposure import speaks_console
from server.api.registry_file import RegistryFileReader
from server.app import FjordApp, create_app
from server.cli.announce import Announcement, ConsoleSaid, announce
from server.cli.clustered import clustered
from server.cli.console_link import first_admin_link
from server.cli.drained_server import DrainedServer
from server.cli.first_start import (
    check_exposure,
    first_key,
    prepare_data_dir,
    raise_open_files,
)
from server.cli.network import Network, listening
from server.cli.offline import go_offline
from server.cli.registry_choice import again, node_name, registry_to_serve
from server.cli.serve_log import has_reader, serve_log
from server.cli.served_fleet import fleet_to_serve
from server.cli.systemd import ServiceManager
from server.cli.tracing import traces_to
from server.cli.trouble import told
from server.http.connection import Connection
from server.http.request_log import RequestLog
from server.ledger.errors import LedgerError, LedgerUnavailable
from server.ledger.ledger import Ledger
from server.refusal import CannotStart
from server.settings import Settings
from server.tracing.address import collector_address

log = logging.getLogger("fjord.serve")

KEEP_ALIVE_S = 75
"""Longer than clients keep idle connections in their pools, so that they close first."""
THREADS_END_S = 1.0
AFTER_DRAIN_S = 1
"""The drain has ended or cut every answer; what is left are clients that take their time."""


def serve(settings: Settings) -> int:
    """The exit status. Raises CannotStart."""
    began = time.monotonic()
    if settings.has_port:
        check_exposure("--host", settings.host, settings.no_auth)
    if settings.ops_port is not None:
        check_exposure("--ops-host", settings.ops_host, settings.no_auth)
    raise_open_files()
    collector = collector_address(settings)
    if settings.offline:
        go_offline(settings, collector)
    secret = node_token(settings.node_token, settings.node_token_file)
    prepare_data_dir(settings.data_dir)
    with listening(settings) as network:
        registry = registry_to_serve(settings)
        node = node_name(settings)
        traces = traces_to(collector, node)
        with (
            _ledger(settings, registry, node) as ledger,
            _token(settings) as token,
            serve_log(settings),
            clustered(settings, registry) as cluster,
        ):
            joined = JoinedNodes(partial(these_facts, facts_name(node), __version__))
            joined.address = settings.advertise or network.join_url
            fleet = fleet_to_serve(settings, registry, ledger, joined, cluster)
            app = create_app(
                settings,
                registry,
                fleet,
                ledger,
                KeyRing(),
                node=node,
                operator_token=token,
                node_token=secret,
                joined=joined,
                read_registry=again(settings, registry),
                traces=traces,
            )
            announcement = Announcement(
                url=network.url,
                curl=network.curl,
                ops_url=network.ops_url,
                registry=registry,
                key=None if settings.no_auth else _first_key(settings, ledger.path, network),
                console=_console(settings, ledger, network),
                needs_key=not settings.no_auth,
                is_exposed=network.is_exposed,
                has_reader=has_reader(settings),
                began=began,
            )
            with network.noted(settings.data_dir):
                _run(app, network, settings.drain_timeout_s, fleet, announcement)
    leave_stuck_threads(0)
    return 0


@contextlib.contextmanager
def _ledger(settings: Settings, registry: Registry, node: str) -> Iterator[Ledger]:
    try:
        ledger = Ledger.open(
            settings.data_dir,
            node=node,
            currency=registry.currency,
            ledger_url=settings.ledger_url,
            stale_s=settings.ledger_stale_s,
        )
    except LedgerError as error:
        raise CannotStart(str(error)) from None
    try:
        yield ledger
    finally:
        ledger.lock.release()


@contextlib.contextmanager
def _token(settings: Settings) -> Iterator[str]:
    with contextlib.ExitStack() as stack:
        with told():
            token = stack.enter_context(operator_token(settings.data_dir))
        yield token


def _first_key(settings: Settings, ledger: Path, network: Network) -> Any:
    if settings.ledger_url is not None:
        return None
    keep, show = not network.is_exposed, has_reader(settings)
    with told():
        return first_key(settings.data_dir, ledger, keep=keep, show=show)


def _console(settings: Settings, ledger: Ledger, network: Network) -> ConsoleSaid | None:
    if not speaks_console(settings):
        return None
    address = settings.console_url or network.ops_url or network.page_url
    link = None
    with (
        told(),
        contextlib.suppress(LedgerUnavailable),  # of a site that is away
        contextlib.closing(ledger.open_books()) as books,
    ):
        link = first_admin_link(books, settings.data_dir, address)
    return ConsoleSaid(f"{address.rstrip('/')}/console", link)


def _run(
    app: RequestLog,
    network: Network,
    drain_timeout_s: float,
    fleet: Fleet,
    announcement: Announcement,
) -> None:
    config = _config(app)
    inside = cast(FjordApp, app.app)
    manager = ServiceManager.of()
    supervisor, listeners = inside.services.supervisor, network.listeners
    ops = None if inside.ops is None else _config(inside.ops)
    server = DrainedServer(config, supervisor, fleet, drain_timeout_s, manager, listeners, ops)
    server.on_hangup = lambda: _read_again(inside.registry_file, network)
    network.measured(inside.services.metrics)

    async def speak() -> None:
        await announce(fleet, announcement)
        manager.status("Ready.")

    async def run() -> None:
        speaking = asyncio.create_task(speak())
        speaking.add_done_callback(server.ends_where_refused)
        living = asyncio.create_task(manager.stay_alive())
        watching = asyncio.create_task(network.watch())
        await server.serve()
        living.cancel()
        watching.cancel()
        speaking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await speaking

    _complete(run())


def _config(app: RequestLog) -> uvicorn.Config:
    return uvicorn.Config(
        cast(Any, app),
        http=Connection,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=AFTER_DRAIN_S,
    )


async def _read_again(reader: RegistryFileReader, network: Network) -> str:
    """What came of it, in words."""
    about_network = await network.read_again()
    answer = await reader.apply()
    words = "The registry was read again." if answer.applied else "The registry has a mistake."
    return f"{words} {about_network}".rstrip()


def _complete(main: Coroutine[Any, Any, None]) -> None:
    """asyncio.Runner would wait for every thread of the loop's pool, however long it takes."""
    loop = uvloop.new_event_loop()
    try:
        loop.run_until_complete(main)
    finally:
        loop.run_until_complete(_end_tasks())
        loop.close()


async def _end_tasks() -> None:
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_asyncgens()


def leave_stuck_threads(status: int) -> None:
    """A library's load that is under way cannot be stopped, and Python would wait for its thread.
    Everything of ours is closed by now."""
    deadline = time.monotonic() + THREADS_END_S
    for thread in threading.enumerate():
        if thread is not threading.main_thread() and not thread.daemon:
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                sys.stdout.flush()
                os._exit(status)
