"""/admin/v1/nodes: the servers of this site, and which of them takes no new work."""

import asyncio
from collections.abc import Iterator
from contextlib import closing
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Request
from fastapi import Path as InPath
from pydantic import BaseModel, Field

from server.api.admin.joined import JoinedMachine, joined_machine
from server.api.audited import actor_of, noted
from server.api.services import Services
from server.api.site_node import SiteNode
from server.errors import ApiError, brief
from server.ledger.database import Database
from server.ledger.node_store import NodeStore, SiteNodeRow
from server.ledger.site_limits import GONE_S

Named = Annotated[str, InPath(description="Its name or id", max_length=256)]


class NodeModel(BaseModel):
    alias: str
    state: str
    requests: int
    waiting: int


class Node(BaseModel):
    """One server of the site."""

    name: str
    node_id: str = Field(description="Of its data directory; two nodes may have one name")
    address: str | None = Field(description="Where others reach it, as it was told")
    version: str
    state: Literal["serving", "draining", "stopping", "stopped", "gone"] = Field(
        description="draining: an operator keeps new work from it. gone: silent for 10 s"
    )
    is_here: bool = Field(description="It is the server that answers this")
    for_s: float = Field(description="Seconds since it started")
    silent_s: float = Field(description="Seconds since it was heard")
    models: list[NodeModel]


class Nodes(BaseModel):
    nodes: list[Node]
    joined: list[JoinedMachine] = Field(
        description="Machines that run parts of this server's engines (fjord node)"
    )


def add_node_routes(router: APIRouter, services: Services) -> None:
    def books(request: Request) -> Iterator[Database | None]:
        if services.ledger.ledger_url is None:
            yield None
            return
        with closing(services.ledger.open_books()) as database:
            database.actor = actor_of(request.scope)
            yield database

    Books = Annotated[Database | None, Depends(books)]
    site_node = services.site_node

    @router.get(
        "/nodes", summary="The servers of this site; one that is gone for a day is not told"
    )
    def list_nodes(books: Books) -> Nodes:
        rows = [site_node.row()] if books is None else NodeStore(books).list()
        return Nodes(
            nodes=[_shown(row, site_node) for row in rows],
            joined=[joined_machine(each) for each in services.joined.all],
        )

    async def told(node: str, request: Request, books: Database | None, is_drained: bool) -> Node:
        if books is None:
            await _drain_here(services, node, request, is_drained)
            return _shown(site_node.row(), site_node)
        store = NodeStore(books)
        row = await asyncio.to_thread(store.drain, node, is_drained=is_drained)
        return _shown(row, site_node)

    @router.post(
        "/nodes/{node:path}/drain",
        summary="Keep new work from a server: its /ready is 503 until undrain or its next start",
    )
    async def drain_node(node: Named, request: Request, books: Books) -> Node:
        """It goes on with what it has, and answers what comes all the same."""
        return await told(node, request, books, True)

    @router.post("/nodes/{node:path}/undrain", summary="Let it take new work again")
    async def undrain_node(node: Named, request: Request, books: Books) -> Node:
        return await told(node, request, books, False)


async def _drain_here(services: Services, node: str, request: Request, is_drained: bool) -> None:
    site_node = services.site_node
    row = site_node.row()
    if node not in (row.name, row.node_uid):
        raise ApiError(404, "NOT_FOUND", f"No node here is called {brief(node)!r}.")
    if site_node.is_drained != is_drained:
        action = "node.drain" if is_drained else "node.undrain"
        await noted(services, actor_of(request.scope), action, row.name)
        site_node.is_drained = is_drained


def _shown(row: SiteNodeRow, here: SiteNode) -> Node:
    return Node(
        name=row.name,
        node_id=row.node_uid,
        address=row.address,
        version=row.version,
        state=_state(row),
        is_here=row.process == here.process,
        for_s=round(max(0.0, row.age_s), 1),
        silent_s=round(max(0.0, row.silent_s), 1),
        models=[NodeModel(**each) for each in row.models],
    )


def _state(row: SiteNodeRow) -> Literal["serving", "draining", "stopping", "stopped", "gone"]:
    if row.state == "stopped":
        return "stopped"
    if row.silent_s > GONE_S:
        return "gone"
    if row.state == "stopping":
        return "stopping"
    return "draining" if row.is_drained else "serving"
