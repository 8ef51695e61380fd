"""POST /admin/v1/nodes/probe: whether this server and the machines that joined it can run one
engine, found by asking each; one probe at a time."""

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import AsyncGenerator, Sequence
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query
from starlette.responses import Response

from engines.joined.node import JoinedNode
from engines.probing.channel import OwnChannel, ProbedNode
from engines.probing.files import MOST_MODELS, WantedWeights, wanted
from engines.probing.findings import ProbeFinding, findings_document
from engines.probing.joined_nodes import not_there, probed_nodes
from engines.probing.listeners import MOST_PORTS
from engines.probing.preflight import BOUND_S, MOST_NODES, Preflight, Wishes
from engines.probing.prober import Prober
from engines.probing.told import told_here
from engines.registry.several_machines import machines
from server import __version__
from server.api.admin.now.events import HEARTBEAT, EventStream, event
from server.api.services import Services
from server.errors import ApiError, brief

HEARTBEAT_S: Final = 1.0
"""A client that has left is noticed by the second one."""
_EVENTS: Final = {
    "description": "`event: doing` as each part of it begins, its data `{what}`; at last "
    "`event: found`: `{bad, nodes: [{node, checks: [{name, state, words, remedy}]}]}`",
    "content": {"text/event-stream": {"schema": {"type": "string"}}},
}
Port = Annotated[int, Query(ge=1, le=65535)]
Ports = Annotated[
    list[Port], Query(alias="port", description="That a start will use", max_length=MOST_PORTS // 2)
]
Names = Annotated[
    list[str],
    Query(alias="node", description="Of those that joined, these alone", max_length=MOST_NODES - 1),
]


def add_node_probe_route(router: APIRouter, services: Services) -> None:
    probe = NodeProbe(services)

    @router.post(
        "/nodes/probe",
        summary="Whether this server and the machines that joined it can run one engine",
        response_class=Response,
        responses={200: _EVENTS},
    )
    async def probe_nodes(ports: Ports = [], names: Names = []) -> Response:  # noqa: B006
        """Within 180 seconds; a client that leaves ends it."""
        pieces = probe.begun(probe.chosen(names), ports)
        return EventStream(pieces, services.settings.send_timeout_s)


class NodeProbe:
    """Of one server, and of what has joined it."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._running: asyncio.Task[list[ProbeFinding]] | None = None
        self._ends_at = 0.0

    def chosen(self, names: Sequence[str]) -> list[JoinedNode]:
        """All, or those of these names. Raises ApiError."""
        joined = {node.name: node for node in self._services.joined.all}
        if unknown := [name for name in names if name not in joined]:
            raise ApiError(404, "NOT_FOUND", f"No node called {brief(unknown[0])!r} has joined.")
        found = [node for name, node in joined.items() if not names or name in names]
        there = [node for node in found if node.is_connected]
        if not there:
            raise ApiError(404, "NOT_FOUND", self._how_one_joins())
        if len(there) >= MOST_NODES:
            message = (
                f"{len(there)} nodes have joined, and {MOST_NODES - 1} are asked at once; "
                "right would be some of their names."
            )
            raise ApiError.invalid(message, "node", None, f"{MOST_NODES - 1} names at most")
        return found

    def _how_one_joins(self) -> str:
        joined = self._services.joined
        if not joined.takes_nodes:
            return (
                "No node can join this server: it has no node token. Give one to it and to the "
                "nodes, with --node-token-file or FJORD_NODE_TOKEN (`openssl rand -hex 32`)."
            )
        return (
            "No node has joined this server. On each other machine, with this server's node "
            f"token: fjord node --join {joined.address}."
        )

    def begun(
        self, nodes: Sequence[JoinedNode], ports: Sequence[int]
    ) -> AsyncGenerator[bytes, None]:
        """As events. Raises ApiError while another one runs."""
        if self._running is not None:
            message = "The nodes are being probed for somebody else, who gets the answer."
            raise ApiError.retry(503, "OVERLOADED", message, self._ends_at - time.monotonic())
        what: asyncio.Queue[str] = asyncio.Queue()
        self._ends_at = time.monotonic() + BOUND_S
        self._running = asyncio.create_task(self._found(nodes, ports, what), name="node probe")
        self._running.add_done_callback(lambda _: self._is_over())
        return _pieces(self._running, what)

    def _is_over(self) -> None:
        self._running = None

    async def _found(
        self, nodes: Sequence[JoinedNode], ports: Sequence[int], doing: "asyncio.Queue[str]"
    ) -> list[ProbeFinding]:
        others = probed_nodes(nodes)
        name = _head_name(self._services.node, others)
        prober = Prober(lambda: told_here(name, __version__), self._services.settings.data_dir)
        address = next((each.head_address for each in nodes if each.head_address), "")
        own = ProbedNode(name, OwnChannel(prober.tasks()), address, is_joined=True)
        wishes = Wishes(ports=sorted(set(ports)), models=self._models())
        doing.put_nowait(f"probing {len(others) + 1} machines, within {BOUND_S:g} s")
        try:
            found = await Preflight([own, *others], wishes, doing=doing.put_nowait).run()
        finally:
            prober.close()
        return [*found, *not_there([node for node in nodes if node.name not in _names(others)])]

    def _models(self) -> dict[str, WantedWeights]:
        """Of what several machines are to run."""
        specs = [model.engine for model in self._services.registry.here]
        several = [spec for spec in specs if machines(spec.args) > 1]
        found = {spec.source: wanted(spec) for spec in several[:MOST_MODELS]}
        return {source: each for source, each in found.items() if each is not None}


def _names(nodes: Sequence[ProbedNode]) -> set[str]:
    return {node.name for node in nodes}


def _head_name(node: str, others: Sequence[ProbedNode]) -> str:
    """Unlike any other's: a node may have the server's."""
    name = (node or socket.gethostname())[:64]
    return f"{name} (the server)" if name in _names(others) else name


async def _pieces(
    running: "asyncio.Task[list[ProbeFinding]]", what: "asyncio.Queue[str]"
) -> AsyncGenerator[bytes, None]:
    """A client that leaves ends what runs for it."""
    try:
        async for words in _told(running, what):
            yield HEARTBEAT if words is None else event("doing", json.dumps({"what": words}))
        yield event("found", json.dumps(findings_document(running.result())))
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([running])


async def _told(
    running: "asyncio.Task[Any]", what: "asyncio.Queue[str]"
) -> AsyncGenerator[str | None, None]:
    """None: nothing new for a while."""
    hearing = asyncio.ensure_future(what.get())
    try:
        while True:
            both: list[asyncio.Future[Any]] = [hearing, running]
            await asyncio.wait(both, timeout=HEARTBEAT_S, return_when=asyncio.FIRST_COMPLETED)
            if hearing.done():
                yield hearing.result()
                hearing = asyncio.ensure_future(what.get())
            elif running.done():
                return
            else:
                yield None
    finally:
        hearing.cancel()
