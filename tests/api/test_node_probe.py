"""POST /admin/v1/nodes/probe without a network: whom it asks, and what it refuses in words."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from engines.joined.nodes import JoinedNodes
from engines.joined.wire import LINK_VERSION, Hello, TaskAnswer
from tests.support.admin_site import AdminSite, admin_site
from tests.support.joining import facts

pytestmark = pytest.mark.anyio
PROBE = "/admin/v1/nodes/probe"


def joined(site: AdminSite, count: int, version: int = LINK_VERSION) -> JoinedNodes:
    """Nodes that never say anything more."""
    nodes: JoinedNodes = site.app.app.services.joined
    for number in range(count):
        hello = Hello(version=version, facts=facts(f"gpu-{number}"), session="s")
        nodes.join(hello, "10.0.0.2", "10.0.0.1")
    return nodes


async def refused(site: AdminSite, status: int, query: str = "") -> str:
    answer: dict[str, Any] = await site.ask("POST", f"{PROBE}{query}", status)
    return str(answer["error"]["message"])


async def test_where_none_has_joined_it_says_how_one_does(tmp_path: Path) -> None:
    async with admin_site(tmp_path) as site:
        assert "it has no node token" in await refused(site, 404)
        site.app.app.services.joined.takes_nodes = True
        assert "fjord node --join http://HEAD:8080" in await refused(site, 404)


async def test_more_than_can_be_asked_at_once_are_named_or_refused(tmp_path: Path) -> None:
    async with admin_site(tmp_path) as site:
        joined(site, 16)
        assert "16 nodes have joined, and 15 are asked at once" in await refused(site, 400)
        names = "&".join(f"node=gpu-{number}" for number in range(16))
        assert await refused(site, 400, f"?{names}")
        assert "'nobody'" in await refused(site, 404, "?node=nobody&node=gpu-1")


@pytest.mark.parametrize("query", ["port=0", "port=65536", "port=x", "&".join(["port=1"] * 33)])
async def test_ports_have_their_bounds(tmp_path: Path, query: str) -> None:
    async with admin_site(tmp_path) as site:
        joined(site, 1)
        assert await refused(site, 400, f"?{query}")


async def test_one_that_leaves_while_it_is_asked_and_one_that_left_before(tmp_path: Path) -> None:
    async with admin_site(tmp_path) as site:
        gone, there = joined(site, 2).all
        gone.lose("it has left")
        asking = asyncio.ensure_future(site.client.post(PROBE))
        assert there.outbox is not None
        while b"probe-tell" not in await there.outbox.lines.get():
            pass
        assert "for somebody else" in await refused(site, 503)
        there.lose("it has left")
        events = (await asking).text.split("\n\n")
        found = next(each for each in events if each.startswith("event: found"))
        nodes = json.loads(found.partition("data: ")[2])["nodes"]
        assert [node["node"] for node in nodes][1:] == ["gpu-1", "gpu-0"]
        assert _told(nodes[1]) == [("answers", "bad", "it is away: its link ended")]
        assert _told(nodes[2]) == [("answers", "note", "it has joined, and is there no more")]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("no task here is called probe-tell", "it does not know this probe: install the same"),
        ("[Errno 28] No space left on device", "[Errno 28] No space left on device"),
        ("x" * 2000, "x" * 400),
    ],
)
async def test_what_a_node_cannot_do_is_its_line(tmp_path: Path, error: str, words: str) -> None:
    async with admin_site(tmp_path) as site:
        there = joined(site, 1).all[0]
        asking = asyncio.ensure_future(site.client.post(PROBE))
        assert there.outbox is not None
        while b"probe-tell" not in (line := await there.outbox.lines.get()):
            pass
        there.heard(TaskAnswer(id=json.loads(line)["id"], error=error))
        found = (await asking).text.partition("event: found\ndata: ")[2]
        node = json.loads(found)["nodes"][1]
        [(name, state, said)] = _told(node)
        assert (node["node"], name, state) == ("gpu-0", "answers", "bad")
        assert said.startswith(words)
        assert len(said) <= 400


def _told(node: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(check["name"], check["state"], check["words"]) for check in node["checks"]]
