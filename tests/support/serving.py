"""A real server for tests: uvicorn on a free port, a real ledger, engines by choice."""

import asyncio
import contextlib
import functools
import socket
import sqlite3
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import uvicorn
import uvloop

from engines.base import Engine
from engines.fleet.backoff import Backoff
from engines.fleet.fleet import Fleet
from engines.registry.registry import Registry
from engines.registry.spec import EngineSpec, ModelSpec, Price
from engines.testing.scripted import ScriptedEngine
from server.accounts.auth import KeyRing
from server.api.services import Services
from server.app import create_app
from server.cli.tracing import traces_to
from server.console.session import Sessions
from server.http.connection import Connection
from server.http.request_log import RequestLog
from server.ledger import key_watcher, sqlite
from server.ledger.database import SqliteDatabase
from server.ledger.key_store import KeyStore
from server.ledger.keys import Key
from server.ledger.ledger import Ledger
from server.peers.directory import Directory
from server.peers.peers import Peers
from server.settings import Settings
from server.tracing.address import collector_address


@dataclass
class Served:
    """A running server: its address, a good key, and what is inside."""

    url: str
    key: str
    data_dir: Path
    services: Services
    engines: list[Any] = field(default_factory=list)

    @property
    def headers(self) -> dict[str, str]:
        return {"X-API-Key": self.key}

    def new_key(self, **fields: Any) -> str:
        """Another key; in use once the running server has seen it."""
        text = make_key(self.data_dir, **fields)
        wait_until(lambda: text in _accepted(self.services.ring, text), "the server takes the key")
        return text


_MORE = (
    "owners",
    "shares_prefix_cache",
    "shared_prompts",
    "reasoning",
    "reasoning_efforts",
    "thought_bounds",
    "chat_template_kwargs",
    "free_chat_template_kwargs",
    "tool_parser",
    "load",
    "is_pinned",
    "keep_s",
    "replicas",
    "system_prompt",
    "defaults",
    "dimensions",
    "also_known_as",
    "images",
    "nodes",
)
"""What a ModelSpec says beside its engine and limits."""


def scripted(alias: str = "mixtral-8x7b", **args: Any) -> ModelSpec:
    """An alias on a scripted engine; `args` are the engine's, but for limits."""
    limits: dict[str, Any] = {"context_tokens": 32768, "output_tokens": 4096}
    limits |= {k: args.pop(k) for k in limits if k in args}
    more = {k: args.pop(k) for k in _MORE if k in args}
    reasoning_text = args.pop("reasoning_text", None)
    if reasoning_text is not None:
        args["reasoning"] = reasoning_text
    task = args.pop("task", "generate")
    spec = EngineSpec(kind="scripted", source=alias, task=task, args=args)
    price = Price(input=4_000_000, cached_input=1_000_000, output=12_000_000)
    return ModelSpec(alias=alias, engine=spec, price=price, **limits, **more)


def registry_of(*models: ModelSpec) -> Registry:
    by_alias = MappingProxyType({m.alias: m for m in models})
    return Registry(models=by_alias, profile="test", profiles=("test",))


@contextlib.contextmanager
def serving(
    data_dir: Path,
    *models: ModelSpec,
    build: Callable[[EngineSpec], Engine] = ScriptedEngine,
    settings: Mapping[str, Any] | None = None,
    rates: Mapping[str, int] | None = None,
    fleet: Mapping[str, Any] | None = None,
    sessions: Sessions | None = None,
    port: int = 0,
) -> Iterator[Served]:
    """Serve `models` (default: one scripted alias) until the block ends. `fleet`: what the Fleet
    takes beside them. `sessions`: who has signed in to the console."""
    options: dict[str, Any] = {"settings": settings, "rates": rates, "fleet": fleet}
    app, served = prepared(data_dir, *models, build=build, sessions=sessions, **options)
    with quick_polls(), running(app, port) as served.url:
        yield served


@contextlib.asynccontextmanager
async def serving_here(
    data_dir: Path,
    *models: ModelSpec,
    build: Callable[[EngineSpec], Engine],
    settings: Mapping[str, Any] | None = None,
) -> AsyncIterator[Served]:
    """As `serving`, in this event loop: engines may be lent that run in it."""
    app, served = prepared(data_dir, *models, build=build, settings=settings)
    with quick_polls():
        async with running_here(app) as served.url:
            yield served


@contextlib.contextmanager
def quick_polls() -> Iterator[None]:
    """A new key is in use at once, not within half a second: many tests make one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(key_watcher, "POLL_S", 0.02)
        yield


def prepared(
    data_dir: Path,
    *models: ModelSpec,
    build: Callable[[EngineSpec], Engine],
    settings: Mapping[str, Any] | None = None,
    rates: Mapping[str, int] | None = None,
    fleet: Mapping[str, Any] | None = None,
    sessions: Sessions | None = None,
) -> tuple[Any, Served]:
    """The app, and what is inside; it has no address yet."""
    registry = replace(registry_of(*(models or (scripted(),))), rates=rates or {})
    made: list[Any] = []

    def remembered(spec: EngineSpec) -> Engine:
        made.append(peers.engine(spec) if spec.kind == "peer" else build(spec))
        engine: Engine = made[-1]
        return engine

    empty_ledger(data_dir)
    options: dict[str, Any] = {"data_dir": data_dir, "drain_timeout_s": 2.0} | dict(settings or {})
    chosen = Settings(**options)
    node = chosen.node or "test"
    registry = registry.on_node(node)
    ledger = Ledger.open(
        data_dir, node=node, currency=registry.currency, ledger_url=chosen.ledger_url
    )
    peers = Peers(Directory(ledger.open_books))
    key = make_key(data_dir)
    how = {"backoff": Backoff(first_s=0.1)} | dict(fleet or {})
    engines = Fleet(registry.models.values(), remembered, **how)
    asked = None if chosen.otlp_endpoint is None else collector_address(chosen)
    traces = traces_to(asked, node)
    more: dict[str, Any] = {"node": node, "traces": traces, "sessions": sessions}
    app = create_app(chosen, registry, engines, ledger, KeyRing(), **more)
    return app, Served("", key, data_dir, services_of(app), made)


def server_of(
    *models: ModelSpec,
    settings: Mapping[str, Any] | None = None,
    rates: Mapping[str, int] | None = None,
) -> Any:
    """A fixture, one server of `models` for a whole file: `served = server_of(scripted("m"))`."""

    @pytest.fixture(scope="module")
    def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
        data_dir = tmp_path_factory.mktemp("data")
        with serving(data_dir, *models, settings=settings, rates=rates) as server:
            yield server

    return served


def make_key(data_dir: Path, **fields: Any) -> str:
    """The text of a new key in the ledger of `data_dir`."""
    empty_ledger(data_dir)
    fields = {"key_id": "", "name": "test", "owner": "tests"} | fields
    database = SqliteDatabase(sqlite.prepared_ledger(data_dir))
    try:
        return KeyStore(database).create(Key(**fields))[1]
    finally:
        database.close()


def empty_ledger(data_dir: Path) -> None:
    """Where none is: a copy of one that was prepared, as its migrations take 70 ms of a core."""
    path = data_dir / sqlite.FILE_NAME
    if path.exists():
        return
    data_dir.mkdir(parents=True, exist_ok=True)
    path.touch(0o600)
    path.write_bytes(_prepared_bytes())
    with contextlib.closing(sqlite.connect(path)) as connection:
        connection.execute(
            "UPDATE meta SET value = lower(hex(randomblob(8))) WHERE name = 'node_uid'"
        )


@functools.cache
def _prepared_bytes() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return sqlite.prepared_ledger(Path(folder)).read_bytes()


@contextlib.contextmanager
def running(app: Any, port: int = 0) -> Iterator[str]:
    """uvicorn in a thread on a port of loopback (0: a free one); yields the base URL."""
    sock, server = _listening(app, port)
    # uvloop as in production.
    thread = threading.Thread(target=lambda: uvloop.run(server.serve([sock])), daemon=True)
    thread.start()
    try:
        wait_until(lambda: server.started or not thread.is_alive(), "the server starts")
        yield _url(sock)
    finally:
        server.should_exit = True
        thread.join(60)
        sock.close()
    assert not thread.is_alive(), "the server did not stop within 60 s"


@contextlib.asynccontextmanager
async def running_here(app: Any) -> AsyncIterator[str]:
    """uvicorn in this event loop; yields the base URL."""
    sock, server = _listening(app)
    with sock:
        serving = asyncio.ensure_future(server.serve([sock]))
        try:
            async with asyncio.timeout(60):
                while not server.started:  # noqa: ASYNC110 - a plain attribute of uvicorn's
                    await asyncio.sleep(0.01)
            yield _url(sock)
        finally:
            server.should_exit = True
            await asyncio.wait_for(serving, 60)


def _listening(app: Any, port: int = 0) -> tuple[socket.socket, "_Server"]:
    # By its number asyncio knows TCP, and sets TCP_NODELAY: else 40 ms a request.
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", port))
    sock.listen(100)
    config = uvicorn.Config(
        app, log_level="error", http=Connection, lifespan="on", access_log=False
    )
    return sock, _Server(config)


def _url(sock: socket.socket) -> str:
    return f"http://127.0.0.1:{sock.getsockname()[1]}"


class _Server(uvicorn.Server):
    """It sees `should_exit` at once, not up to 0.1 s later: many servers end in the tests."""

    async def main_loop(self) -> None:
        await self.on_tick(0)
        while not self.should_exit:  # noqa: ASYNC110 - a plain attribute of uvicorn's
            await asyncio.sleep(0.01)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """uvicorn's own, which waits for 0.1 s also where nobody is connected."""
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        while self.server_state.connections or self.server_state.tasks:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        for server in self.servers:
            await server.wait_closed()
        await self.lifespan.shutdown()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Ctrl-C ends the tests."""
        yield


def wait_until(condition: Callable[[], Any], what: str, timeout_s: float = 60.0) -> None:
    """Poll a condition; fails with `what` when it does not come true in time."""
    end = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout_s} s: {what}")
        time.sleep(0.01)


def read_records(data_dir: Path) -> list[dict[str, Any]]:
    """The ledger's records as plain dicts, oldest first."""
    connection = sqlite.connect(sqlite.prepared_ledger(data_dir))
    connection.row_factory = sqlite3.Row
    rows = connection.execute("SELECT * FROM usage_records ORDER BY started_us").fetchall()
    connection.close()
    return [dict(row) for row in rows]


def services_of(app: RequestLog) -> Services:
    """What is inside a server."""
    services: Services = app.app.services  # type: ignore[attr-defined]
    return services


def _accepted(ring: KeyRing, text: str) -> list[str]:
    try:
        ring.find(text)
    except Exception:
        return []
    return [text]
