"""A site's nodes: who is there, who is gone, and one that is drained behind a balancer."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from server.cli import nodes as nodes_cli
from server.ledger.audit import entries
from server.ledger.key_store import KeyStore
from server.ledger.keys import Key
from tests.support.fronts import CHAT, Fronts, fronts
from tests.support.serving import Served, make_key, serving, wait_until
from tests.support.sites import new_site, postgres_server

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    with postgres_server() as running:
        yield running


@pytest.fixture
def site(tmp_path: Path, server: Any) -> Iterator[Fronts]:
    with fronts(tmp_path, new_site(server)) as running:
        yield running


@contextmanager
def admin_of(site: Fronts) -> Iterator[httpx.Client]:
    with site.books() as books:
        _, text = KeyStore(books).create(Key(key_id="", name="a", owner="us", service="admin"))
    headers = {"X-API-Key": text}
    with httpx.Client(base_url=f"{site.nodes[0].url}/admin/v1", headers=headers) as client:
        wait_until(lambda: client.get("/nodes").status_code == 200, "the key is known")
        yield client


def listed(admin: httpx.Client) -> list[dict[str, Any]]:
    nodes: list[dict[str, Any]] = admin.get("/nodes").json()["nodes"]
    return nodes


def test_every_server_is_listed_with_its_models_and_one_that_was_killed_is_gone(
    site: Fronts,
) -> None:
    with admin_of(site) as admin:
        first, second = listed(admin)
        assert {first["state"], second["state"]} == {"serving"}
        assert [first["is_here"], second["is_here"]].count(True) == 1
        assert [m["alias"] for m in first["models"]] == ["m"]
        assert max(first["silent_s"], second["silent_s"]) < 10
        there = next(each for each in (first, second) if not each["is_here"])
        with site.books() as books:
            books.execute(
                "UPDATE nodes SET process = 'x', node_uid = 'x', name = 'old',"
                " seen_at = now() - interval '11 seconds' WHERE node_uid = ?",
                (there["node_id"],),
            )
        assert [n["state"] for n in listed(admin) if n["name"] == "old"] == ["gone"]
        with site.books() as books:
            books.execute("UPDATE nodes SET seen_at = now() - interval '25 hours' WHERE name='old'")
        wait_until(lambda: "old" not in [n["name"] for n in listed(admin)], "it is told no more")
        wait_until(lambda: len(listed(admin)) == 2, "who still runs is told again")


def test_fjord_nodes_lists_and_drains_at_80_columns(site: Fronts) -> None:
    run = CliRunner(env={"COLUMNS": "80"})
    with admin_of(site) as admin:
        told = ["--url", site.nodes[0].url, "--api-key", admin.headers["X-API-Key"]]
        answer = run.invoke(nodes_cli.app, told)
        assert answer.exit_code == 0, answer.output
        assert "(here)" in answer.output
        assert max(map(len, answer.output.splitlines())) <= 80
        node_id = listed(admin)[1]["node_id"]
        drained = run.invoke(nodes_cli.app, ["drain", node_id, *told, "--json"])
        assert json.loads(drained.output)[0]["state"] == "draining"
        assert run.invoke(nodes_cli.app, [*told, "drain", node_id]).exit_code != 0


def test_a_server_that_ends_by_itself_is_stopped_and_not_waited_for(
    tmp_path: Path, server: Any
) -> None:
    url = new_site(server)
    with fronts(tmp_path, url, count=1) as alone:
        with fronts(tmp_path / "more", url, count=1, known=2):
            pass
        with admin_of(alone) as admin:
            assert sorted(node["state"] for node in listed(admin)) == ["serving", "stopped"]
        shares = alone.nodes[0].services.limiter.shares
        wait_until(lambda: shares.nodes == 1, "it has all again", timeout_s=5)


def test_two_nodes_of_one_name_are_told_apart_by_their_ids(site: Fronts) -> None:
    with admin_of(site) as admin:
        with site.books() as books:
            books.execute("UPDATE nodes SET name = 'twin'")
        refused = admin.post("/nodes/twin/drain")
        assert refused.status_code == 400
        assert "2 nodes are called 'twin'" in refused.json()["error"]["message"]
        assert admin.post("/nodes/nobody/drain").status_code == 404
        node_id, other = (node["node_id"] for node in listed(admin))
        with site.books() as books:
            named = "UPDATE nodes SET name = ? WHERE node_uid = ?"
            books.execute(named, (node_id, other))
        drained = admin.post(f"/nodes/{node_id}/drain").json()
        assert (drained["node_id"], drained["state"]) == (node_id, "draining"), "ids are first"
        for _ in range(2):
            assert admin.post(f"/nodes/{node_id}/undrain").json()["state"] == "serving"
        with site.books() as books:
            books.execute(named, ("rack/1 å", other))
        assert admin.post("/nodes/rack%2F1%20%C3%A5/drain").json()["node_id"] == other


class Balancer:
    """Round robin over the servers whose /ready says 200."""

    def __init__(self, site: Fronts, key: str) -> None:
        self.urls = [node.url for node in site.nodes]
        self.key = key
        self.ready: list[str] = []
        self.both = asyncio.Event()
        self.sent: Counter[str] = Counter()

    async def watch(self, client: httpx.AsyncClient) -> None:
        while True:
            answers = {url: await client.get(f"{url}/ready") for url in self.urls}
            self.ready = [url for url, answer in answers.items() if answer.status_code == 200]
            if len(self.ready) == 2:
                self.both.set()
            await asyncio.sleep(0.05)

    async def send(self, client: httpx.AsyncClient, number: int) -> int:
        url = self.ready[number % len(self.ready)]
        self.sent[url] += 1
        headers = {"X-API-Key": self.key}
        answer = await client.post(f"{url}/v1/chat/completions", json=CHAT, headers=headers)
        return answer.status_code


def test_one_of_two_is_drained_behind_a_balancer_and_no_request_fails(site: Fronts) -> None:
    _, key = site.new_key(requests_per_minute=10_000)
    balancer = Balancer(site, key)
    with admin_of(site) as admin:
        drained = next(node for node in listed(admin) if not node["is_here"])
        answers = asyncio.run(balanced(balancer, admin, drained["node_id"]))
        assert answers == [200] * 200
        away = httpx.get(f"{site.nodes[1].url}/ready")
        assert (away.status_code, away.headers["Retry-After"]) == (503, "5")
        assert "keeps new work" in away.json()["refusing"]["drain"]
        assert balancer.sent[site.nodes[0].url] >= balancer.sent[site.nodes[1].url] >= 20
        admin.post(f"/nodes/{drained['node_id']}/undrain")
        wait_until(lambda: httpx.get(f"{site.nodes[1].url}/ready").status_code == 200, "it is back")
    with site.books() as books:
        done = [e.action for e in entries(books) if e.action.startswith("node.")]
    assert done == ["node.drain", "node.undrain"]


async def balanced(balancer: Balancer, admin: httpx.Client, node_id: str) -> list[int]:
    """What 200 requests come to; after 60 of them one server is drained."""
    async with httpx.AsyncClient(timeout=60) as client:
        watch = asyncio.create_task(balancer.watch(client))
        await balancer.both.wait()
        answers = [await balancer.send(client, number) for number in range(60)]
        told = await asyncio.to_thread(admin.post, f"/nodes/{node_id}/drain")
        assert told.json()["state"] == "draining"
        answers += [await balancer.send(client, number) for number in range(60, 80)]
        while len(balancer.ready) == 2:
            answers.append(await balancer.send(client, len(answers)))
        while len(answers) < 200:
            answers.append(await balancer.send(client, len(answers)))
        watch.cancel()
    return answers[:200] if set(answers) == {200} else answers


def test_a_server_without_a_site_lists_itself_and_can_be_drained(tmp_path: Path) -> None:
    with serving(tmp_path) as alone:
        admin = {"X-API-Key": make_key(alone.data_dir, service="admin")}
        listing = f"{alone.url}/admin/v1/nodes"
        wait_until(lambda: httpx.get(listing, headers=admin).is_success, "the key is known")
        (node,) = httpx.get(listing, headers=admin).json()["nodes"]
        assert (node["state"], node["is_here"]) == ("serving", True)
        path = f"{alone.url}/admin/v1/nodes/{node['node_id']}"
        assert httpx.post(f"{path}/drain", headers=admin).json()["state"] == "draining"
        assert httpx.get(f"{alone.url}/ready").status_code == 503
        assert alone_answers(alone)
        assert httpx.post(f"{path}/undrain", headers=admin).json()["state"] == "serving"
        nobody = f"{alone.url}/admin/v1/nodes/nobody/drain"
        assert httpx.post(nobody, headers=admin).status_code == 404


def alone_answers(alone: Served) -> bool:
    chat = CHAT | {"model": "mixtral-8x7b"}
    url = f"{alone.url}/v1/chat/completions"
    return httpx.post(url, json=chat, headers=alone.headers).status_code == 200
