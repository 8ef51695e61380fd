"""Heads and nodes of the link alone: no model, no ledger."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.routing import Route

from engines.joined.facts import JoinedFacts
from engines.joined.node import JoinedNode
from engines.joined.nodes import JoinedNodes
from engines.joined.parts import NoParts, Parts
from engines.joined.tasks import Task
from server.api.joined.link import joined_paths
from server.cli.node.joining import Joining
from server.cli.node.tasks import node_tasks
from server.http.connection import connection_state
from server.http.request_log import RequestLog
from tests.support.serving import running_here

TOKEN = "0123456789abcdef0123456789abcdef"
IN_TIME_S = 20.0


def facts(name: str = "gpu-2", **more: Any) -> JoinedFacts:
    versions = {"fjord": "1", "vllm": "2", "torch": "3", "python": "3.11.1", "driver": "none"}
    return JoinedFacts(name=name, **({"boot": "b"} | versions | more))


@contextlib.asynccontextmanager
async def linked_head(token: str = TOKEN) -> AsyncIterator[tuple[JoinedNodes, str]]:
    """A head, and its address."""
    nodes = JoinedNodes(lambda: facts("head"))

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[Mapping[str, Any]]:
        await nodes.start()
        yield connection_state(10.0)
        await nodes.stop()

    routes = [Route(path, link) for path, link in joined_paths(nodes, token).items()]
    app = Starlette(routes=routes, lifespan=lifespan)
    async with running_here(RequestLog(app)) as url:
        yield nodes, url


@contextlib.asynccontextmanager
async def joining(
    url: str,
    name: str = "gpu-2",
    *,
    token: str = TOKEN,
    parts: Parts | None = None,
    tasks: Mapping[str, Task] | None = None,
    said: list[str] | None = None,
) -> AsyncIterator[Joining]:
    """A node that joins the head at `url` until the block ends."""
    say = (said if said is not None else []).append
    more = {**node_tasks(), **(tasks or {})}
    node = Joining(url, token, facts(name), parts or NoParts(), more, say)
    running = asyncio.ensure_future(node.run())
    try:
        yield node
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def until(nodes: JoinedNodes, holds: Callable[[], bool], what: str) -> None:
    """Looks whenever something changed at the head, and twenty times a second."""
    try:
        async with asyncio.timeout(IN_TIME_S):
            while not holds():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(nodes.changed(), 0.05)
    except TimeoutError:
        raise AssertionError(f"not in {IN_TIME_S:g} s: {what}") from None


async def joined(nodes: JoinedNodes, name: str = "gpu-2") -> JoinedNode:
    await until(nodes, lambda: name in _names(nodes), f"{name} joins")
    return next(node for node in nodes.connected if node.name == name)


def _names(nodes: JoinedNodes) -> list[str]:
    return [node.name for node in nodes.connected]
