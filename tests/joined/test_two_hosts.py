"""One model over two hosts, without Ray: the head here, its other part on a node that joined. One
start is shared by all of it, in the order of a day on which things break."""

import concurrent.futures
import contextlib
import json
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from engines.testing.tiny import make_llama
from tests.support.joining import TOKEN
from tests.support.serve_process import FJORD, Server, environment
from tests.support.serving import make_key, read_records
from tests.support.two_hosts import Host, skip_without_hosts, two_hosts

pytestmark = [pytest.mark.vllm, pytest.mark.slow]

STARTS_S, ENDS_S = 200.0, 15.0
SMALL = {
    "max_model_len": 1024,
    "kv_cache_memory_bytes": 16 * 2**20,
    "max_num_seqs": 8,
    "dtype": "float32",
}
REGISTRY = """\
models:
  both: {{source: {path}, engine: vllm, context: 1K, output: 900, preload: true, args: {both}}}
  one: {{source: {path}, engine: vllm, context: 1K, output: 900, args: {one}}}
profiles:
  embedded: {{}}
"""
QUESTIONS = ("hei du", "What is it?", "0123456789" * 20)


@dataclass
class Site:
    """The head on one host, a node on the other."""

    head: Host
    other: Host
    server: Server
    home: Path
    url: str
    key: str
    admin: str
    node: "subprocess.Popen[bytes] | None" = None

    def join(self) -> None:
        log = (self.home / "node.log").open("ab")
        command = [*FJORD, "node", "--join", self.url, "--name", "gpu-2", "--data-dir", "b"]
        variables = environment(FJORD_NODE_TOKEN=TOKEN, VLLM_CPU_OMP_THREADS_BIND="nobind")
        with log:
            self.node = self.other.popen(
                command, cwd=self.home, env=variables, stdout=log, stderr=log
            )

    def said(self) -> str:
        """By the node."""
        return (self.home / "node.log").read_text()

    def asked(self, method: str, path: str, **how: Any) -> httpx.Response:
        key = self.admin if path.startswith("/admin/") else self.key
        headers = {"X-API-Key": key}
        with self.head.inside():
            return httpx.request(method, f"{self.url}{path}", headers=headers, timeout=120, **how)

    def model(self) -> dict[str, Any]:
        found = self.asked("GET", "/admin/v1/models").json()["models"]
        return next(each for each in found if each["alias"] == "both")

    def until(self, holds: Any, what: str, within_s: float) -> dict[str, Any]:
        deadline = time.monotonic() + within_s
        while not holds(model := self.model()):
            assert time.monotonic() < deadline, f"{what}: {model}\n{self.said()}"
            assert model["state"] != "failed" or within_s < STARTS_S, f"{model}\n{self.said()}"
            time.sleep(0.2)
        return model

    def answer(self, model: str, question: str) -> str:
        body = {
            "model": model,
            "messages": [{"role": "user", "content": question}],
            "temperature": 0,
            "max_tokens": 40,
            "ignore_eos": True,
        }
        answer = self.asked("POST", "/v1/chat/completions", json=body)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["choices"][0]["message"]["content"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    skip_without_hosts()
    home = tmp_path_factory.mktemp("two-hosts")
    path = make_llama(home / "weights")
    both = json.dumps({**SMALL, "nnodes": 2, "tensor_parallel_size": 2})
    text = REGISTRY.format(path=path, both=both, one=json.dumps(SMALL))
    (home / "model_registry.yaml").write_text(text)
    key, admin = make_key(home / "data"), make_key(home / "data", service="admin")
    with two_hosts() as (one, two), contextlib.ExitStack() as stack:
        server = Server(
            home,
            *("--host", one.address),
            command=one.argv(FJORD),
            FJORD_NODE_TOKEN=TOKEN,
            VLLM_CPU_OMP_THREADS_BIND="nobind",
        )
        stack.callback(_end, server)
        yield Site(one, two, server, home, server.url(), key, admin)


def _end(server: Server) -> None:
    server.process.kill()
    server.process.wait()
    server.reader.join()
    server.output.close()


def test_a_start_says_that_it_waits_for_a_node_and_how_one_joins(site: Site) -> None:
    model = site.until(lambda m: m["reason"], "it says what it waits for", 60)
    assert model["state"] == "fetching"
    assert model["reason"] == f"waits for 1 more node: fjord node --join {site.url}"
    assert site.answer("one", QUESTIONS[0]), "it keeps no other engine from starting"


def test_two_hosts_answer_exactly_as_one(site: Site) -> None:
    site.join()
    site.until(lambda m: m["state"] == "ready", "the engine of two hosts serves", STARTS_S)
    assert "part 2 of 2 starts" in site.said()
    shown = site.asked("GET", "/admin/v1/nodes").json()["joined"]
    assert [(n["name"], n["state"], n["parts"][0]["state"]) for n in shown] == [
        ("gpu-2", "joined", "running")
    ]
    for question in QUESTIONS:
        assert site.answer("both", question) == site.answer("one", question)


def test_a_host_that_is_cut_off_ends_every_stream_and_the_engine_comes_back(site: Site) -> None:
    with _streams(site, 3) as ended:
        site.other.cut()
        cut_at = time.monotonic()
        took = [each.result(ENDS_S + 10) - cut_at for each in ended]
    assert max(took) < ENDS_S, took
    _billed_as_read(site, 3)
    site.until(lambda m: m["state"] != "ready", "the engine is taken for dead", 10)
    site.other.mend()
    site.until(lambda m: m["state"] == "ready", "the engine serves anew", STARTS_S)
    assert site.answer("both", QUESTIONS[0]) == site.answer("one", QUESTIONS[0])


def test_a_part_that_is_killed_ends_every_stream_and_leaves_nothing(site: Site) -> None:
    with _streams(site, 3) as ended:
        part = _part_of(site)
        tree = [part, *part.children(recursive=True)]
        part.send_signal(signal.SIGKILL)
        killed_at = time.monotonic()
        took = [each.result(ENDS_S + 10) - killed_at for each in ended]
    assert max(took) < ENDS_S, took
    _billed_as_read(site, 6)
    site.until(lambda m: m["state"] != "ready", "the engine is taken for dead", 10)
    assert not psutil.wait_procs(tree, timeout=5)[1]
    assert "its part ended by SIGKILL" in site.said()


def test_a_node_leaves_within_two_seconds_with_all_that_it_ran(site: Site) -> None:
    site.until(lambda m: "part" in site.said().splitlines()[-1], "another part starts", 60)
    assert site.node is not None
    process = psutil.Process(site.node.pid)
    tree = process.children(recursive=True)
    began = time.monotonic()
    site.node.send_signal(signal.SIGTERM)
    assert site.node.wait(10) == 0
    assert time.monotonic() - began < 3
    assert not psutil.wait_procs(tree, timeout=1)[1]
    model = site.until(lambda m: m["reason"], "it says why", 20)
    assert model["state"] in ("failed", "fetching", "starting", "stopping", "cold")


def _part_of(site: Site) -> psutil.Process:
    assert site.node is not None
    [part] = [
        each
        for each in psutil.Process(site.node.pid).children()
        if "engines.vllm.headless" in each.cmdline()
    ]
    return part


@contextlib.contextmanager
def _streams(site: Site, count: int) -> Iterator[list["concurrent.futures.Future[float]"]]:
    """Streams that run, each with the time when it ended as a stream of an engine that died."""
    running = threading.Barrier(count + 1)
    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        ended = [pool.submit(_read, site, running) for _ in range(count)]
        running.wait(60)
        yield ended


def _read(site: Site, running: threading.Barrier) -> float:
    body = {
        "model": "both",
        "messages": [{"role": "user", "content": "on and on"}],
        "stream": True,
        "max_tokens": 900,
        "ignore_eos": True,
    }
    headers = {"X-API-Key": site.key}
    url = f"{site.url}/v1/chat/completions"
    events = []
    with (
        site.head.inside(),
        httpx.stream("POST", url, json=body, headers=headers, timeout=120) as answer,
    ):
        assert answer.status_code == 200, answer.read()
        for line in answer.iter_lines():
            if line.startswith("data:"):
                events.append(line.removeprefix("data:").strip())
                if len(events) == 3:
                    running.wait(60)
    ended_at = time.monotonic()
    last = [json.loads(each) for each in events if each != "[DONE]"][-1]
    assert last["error"]["code"] == "MODEL_UNAVAILABLE", events[-3:]
    return ended_at


def _billed_as_read(site: Site, count: int) -> None:
    """Each of the cut streams has one record, of tokens that were made."""
    records = [r for r in read_records(site.home / "data") if r["stream"]]
    assert len(records) == count
    for record in records:
        assert record["end"] == "engine_died", record
        assert 3 <= record["completion_tokens"] < 900
