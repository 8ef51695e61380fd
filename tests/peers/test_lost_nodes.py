"""Nodes that are killed, freeze, come back or are drained, under streams through a front."""

import asyncio
import re
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.peer_processes import Heard, ProcessSite, process_site
from tests.support.peers import peer_site
from tests.support.serving import scripted, wait_until
from tests.support.sites import new_site, postgres_server

pytestmark = pytest.mark.slow

STREAMS = 40


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    with postgres_server() as running:
        yield running


@pytest.fixture
def site(tmp_path: Path, server: Any) -> Iterator[ProcessSite]:
    text = "word " * 400
    with process_site(tmp_path, new_site(server), text=text, token_delay_s=0.01) as found:
        yield found


def meanwhile(site: ProcessSite, count: int, **body: Any) -> "tuple[threading.Thread, list[Heard]]":
    found: list[Heard] = []
    thread = threading.Thread(target=lambda: found.extend(site.run(count, **body)))
    thread.start()
    return thread, found


def running(site: ProcessSite, name: str) -> int:
    rows = site.admin("/nodes")["nodes"]
    return sum(m["requests"] for row in rows if row["name"] == name for m in row["models"])


def tokens(heard: Heard) -> int:
    return heard.usage["completion_tokens"] if heard.usage else 0


def check_bills(site: ProcessSite, heard: list[Heard]) -> None:
    """Each request once, with what its client had."""
    wait_until(lambda: len(site.records()) >= len(heard), "all is billed")
    records = {each["record_id"]: each for each in site.records()}
    assert len(site.records()) == len(heard)
    for each in heard:
        record = records[each.request_id]
        had = tokens(each)
        assert record["completion_tokens"] == had
        assert record["amount"] == record["prompt_tokens"] + 2 * had


def test_a_node_is_killed_and_comes_back(site: ProcessSite) -> None:
    thread, heard = meanwhile(site, STREAMS, max_tokens=300)
    wait_until(lambda: running(site, "gpu-1") and running(site, "gpu-2"), "both generate")
    site.signal("gpu-1", signal.SIGKILL)
    killed_at = time.monotonic()
    thread.join(30)
    assert not thread.is_alive()
    cut = [each for each in heard if each.error]
    assert {each.error for each in cut} <= {"MODEL_UNAVAILABLE"}
    assert 0 < len(cut) < STREAMS
    assert all(each.ended_at - killed_at < 10 for each in cut)
    assert all(
        each.usage and each.usage["completion_tokens"] == 300 for each in heard if not each.error
    )
    check_bills(site, heard)
    site.processes["gpu-1"].process.wait(10)
    site.start("gpu-1")
    wait_until(lambda: site.ways() == 2, "it is asked again")
    thread, heard = meanwhile(site, STREAMS, max_tokens=100)
    wait_until(lambda: running(site, "gpu-1"), "it generates")
    thread.join(30)
    assert not [each for each in heard if each.error]


def test_a_node_freezes(site: ProcessSite) -> None:
    thread, heard = meanwhile(site, STREAMS, max_tokens=300)
    wait_until(lambda: running(site, "gpu-1") and running(site, "gpu-2"), "both generate")
    site.signal("gpu-1", signal.SIGSTOP)
    frozen_at = time.monotonic()
    try:
        thread.join(30)
        assert not thread.is_alive()
    finally:
        site.signal("gpu-1", signal.SIGCONT)
    cut = [each for each in heard if each.error]
    assert 0 < len(cut) < STREAMS
    assert all(each.ended_at - frozen_at < 10 for each in cut)
    check_bills(site, heard)
    wait_until(lambda: site.ways() == 2, "it is asked again")
    wait_until(lambda: running(site, "gpu-1") == 0, "it has ended what nobody reads")


def test_who_has_heard_nothing_goes_to_another_node(tmp_path: Path, server: Any) -> None:
    text = "word " * 49 + "word"
    with process_site(tmp_path, new_site(server), text=text, first_token_delay_s=1.5) as site:
        thread, heard = meanwhile(site, STREAMS)
        wait_until(lambda: running(site, "gpu-1") and running(site, "gpu-2"), "both are asked")
        site.signal("gpu-1", signal.SIGKILL)
        thread.join(30)
        assert not thread.is_alive()
        assert [each.error for each in heard] == [""] * STREAMS
        assert {tokens(each) for each in heard} == {51}
        check_bills(site, heard)


def test_a_node_is_drained_and_no_request_fails(tmp_path: Path, server: Any) -> None:
    text = "word " * 100
    with process_site(tmp_path, new_site(server), text=text, token_delay_s=0.005) as site:
        thread, heard = meanwhile(site, STREAMS)
        wait_until(lambda: running(site, "gpu-1") and running(site, "gpu-2"), "both generate")
        site.admin("/nodes/gpu-1/drain", "POST")
        wait_until(lambda: not goes_to(site, "gpu-1"), "new work goes to the other", timeout_s=10)
        thread.join(30)
        heard += site.run(10)
        assert [each.error for each in heard] == [""] * (STREAMS + 10)
        site.admin("/nodes/gpu-2/drain", "POST")  # nobody else is left: they go on
        assert [each.error for each in site.run(5)] == [""] * 5


def goes_to(site: ProcessSite, name: str) -> bool:
    """Whether new requests do."""
    before = tokens_of(site, name)
    site.run(4, max_tokens=2)
    return tokens_of(site, name) > before


def tokens_of(site: ProcessSite, name: str) -> float:
    text = httpx.get(f"{site.address(name)}/metrics").text
    found = re.findall(r"^fjord_peer_requests_total\S* (\S+)$", text, re.M)
    return sum(map(float, found))


def test_an_engine_of_a_node_dies_and_its_other_streams_go_on(tmp_path: Path, server: Any) -> None:
    """Each of the node's two engines dies after so many tokens, of all that run on it together."""
    text = "word " * 150
    models = scripted("m", text=text, token_delay_s=0.005, die_after_tokens=600, replicas=2)
    with peer_site(tmp_path, new_site(server), models) as site, ThreadPoolExecutor(9) as pool:
        answers = list(pool.map(lambda n: site.chat(f"c{n}"), range(9)))
        front = site.nodes[0].services.fleet.statuses()
        assert [status.restarts for status in front] == [0]
        assert {answer.status_code for answer in answers} <= {200, 503}
        wait_until(lambda: site.chat(max_tokens=2).status_code == 200, "it serves again")


def test_a_node_that_ends_finishes_what_it_reads(tmp_path: Path, server: Any) -> None:
    """A drain waits for a score, and a model's queue counts it."""
    models = scripted("r", task="rerank", first_token_delay_s=1)
    with peer_site(tmp_path, new_site(server), models) as site, ThreadPoolExecutor(1) as pool:
        node = site.nodes[1].services
        query: dict[str, Any] = {"model": "r", "query": "a", "documents": ["a b", "b"]}
        answer = pool.submit(site.post, "/v1/rerank", **query)
        wait_until(lambda: node.supervisor.in_flight("r") == 1, "it reads")
        wait_until(lambda: next(node.supervisor.live())[1].waits_since is None, "it has its turn")
        loop = node.supervisor._task.get_loop()  # type: ignore[union-attr]
        drained = asyncio.run_coroutine_threadsafe(node.supervisor.drain(30), loop)
        assert not drained.done()
        assert answer.result(20).status_code == 200
        drained.result(5)
        assert not node.supervisor.in_flight("r")
