"""A site's memory is its PostgreSQL's: what one node keeps is there on every other."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from server.memory.errors import MemoryTrouble, NotKept
from server.memory.site_key import made_site_key
from server.refusal import CannotStart
from tests.support.memories import kept, memory_at
from tests.support.responses import events
from tests.support.serving import Served, scripted, serving, wait_until
from tests.support.sites import new_site, postgres_server

URL = "/v1/responses"
MODELS = (scripted("m"), scripted("slow", text="a " * 3000, token_delay_s=0.01))


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    with postgres_server() as running:
        yield running


@pytest.fixture(scope="module")
def nodes(server: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[httpx.Client]]:
    """Two, and one key for both."""
    folder = tmp_path_factory.mktemp("site")
    made_site_key(folder / "site.key")
    settings = {"ledger_url": new_site(server), "memory_key": folder / "site.key"}
    with ExitStack() as stack:
        served = [
            stack.enter_context(serving(folder / name, *MODELS, settings=settings))
            for name in ("n1", "n2")
        ]
        key = served[0].headers
        clients = [_reaching(each, key) for each in served]
        yield clients
        for client in clients:
            client.close()


def _reaching(served: Served, headers: dict[str, str]) -> httpx.Client:
    client = httpx.Client(base_url=served.url, headers=headers, timeout=60)
    wait_until(lambda: client.get("/v1/models").status_code == 200, "the node knows the key")
    return client


def ok(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_what_one_keeps_the_other_goes_on_from(nodes: list[httpx.Client]) -> None:
    one, two = nodes
    previous = None
    for i in range(6):
        body = {"model": "m", "input": f"w{i}", "previous_response_id": previous}
        response = ok(nodes[i % 2].post(URL, json=body))
        assert ok(nodes[(i + 1) % 2].get(f"{URL}/{response['id']}")) == response
        previous = response["id"]
    streams = [n.get(f"{URL}/{previous}", params={"stream": "true"}).content for n in nodes]
    assert streams[0] == streams[1] != b""
    assert two.delete(f"{URL}/{previous}").status_code == 200
    assert one.get(f"{URL}/{previous}").status_code == 404


def test_a_conversation_is_one_on_both(nodes: list[httpx.Client]) -> None:
    one, two = nodes
    made = ok(one.post("/v1/conversations", json={"metadata": {"a": "b"}}))
    for i, node in enumerate((one, two, one, two)):
        ok(node.post(URL, json={"model": "m", "input": f"w{i}", "conversation": made["id"]}))
    query: dict[str, Any] = {"order": "asc", "limit": 100}
    pages = [ok(n.get(f"/v1/conversations/{made['id']}/items", params=query)) for n in nodes]
    assert pages[0] == pages[1]
    said = [item["content"][0]["text"] for item in pages[0]["data"]]
    assert said == ["w0", "w0", "w1", "w1", "w2", "w2", "w3", "w3"]


def test_the_other_follows_and_cancels_what_one_runs(nodes: list[httpx.Client]) -> None:
    one, two = nodes
    body = {"model": "slow", "input": "x", "background": True}
    short = ok(one.post(URL, json=body | {"max_output_tokens": 200}))
    followed = two.get(f"{URL}/{short['id']}", params={"stream": "true"})
    assert events(followed)[-1]["type"] == "response.incomplete"
    assert one.get(f"{URL}/{short['id']}", params={"stream": "true"}).content == followed.content
    long = ok(one.post(URL, json=body))
    url = f"{URL}/{long['id']}"
    wait_until(lambda: ok(two.get(url))["status"] == "in_progress", "it runs")
    began = time.monotonic()
    assert ok(two.post(f"{url}/cancel"))["status"] == "cancelled"
    assert time.monotonic() - began < 10
    assert ok(one.get(url))["status"] == "cancelled"


def test_a_node_with_another_key_does_not_start(server: Any, tmp_path: Path) -> None:
    url = new_site(server)
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    for path in (right, wrong):
        made_site_key(path)
    memory_at(tmp_path, url=url, key=right).keep(kept("resp_a"), (), (), ())
    with pytest.raises(CannotStart, match="sealed with another key"):
        memory_at(tmp_path, url=url, key=wrong).check()
    memory_at(tmp_path, url=url, key=right).check()


def test_a_site_that_is_away_is_told_and_comes_back(server: Any, tmp_path: Path) -> None:
    url = new_site(server)
    made_site_key(tmp_path / "key")
    away = memory_at(tmp_path, url="postgresql://nobody@127.0.0.1:1/x", key=tmp_path / "key")
    away.check()  # the start is not held up
    with pytest.raises(MemoryTrouble):
        away.responses.find("resp_a", "acme")
    memory = memory_at(tmp_path, url=url, key=tmp_path / "key")
    memory.keep(kept("resp_a"), (), (), ())
    assert memory.forget("acme") == 1
    with pytest.raises(NotKept):
        memory.responses.find("resp_a", "acme")
    memory.look_after()
    memory.vault.database.close()
    away.vault.database.close()
