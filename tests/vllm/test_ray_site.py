"""A whole `fjord serve` with a replica on another host, by Ray: its engine killed, the host cut.
One start of cluster and server for all of it; the figures of the ledger at its end."""

import asyncio
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from engines.testing.tiny import make_llama
from tests.support.ray_site import RaySite, actors, ray_site, wait_for
from tests.support.serve_process import FJORD, Server, serving
from tests.support.serving import read_records
from tests.support.two_hosts import Host, skip_without_hosts, two_hosts

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.alone]

pytest.importorskip("ray", reason="Ray is not installed: requirements/ray.txt")

LETTER = "72"
"""A token that is a character: with each of them the client gets text, and a usage."""
STREAMS, TOKENS, BEGUN = 200, 100, 100
REGISTRY = """\
cluster: ray
models:
  tiny:
    source: {source}
    engine: vllm
    args: {{dtype: float32, enforce_eager: true, kv_cache_memory_bytes: 134217728,
            max_num_seqs: 64, gpu_memory_utilization: 0.6}}
    context: 4K
    output: 2K
    price: {{input: "1.00", output: "2.00"}}
    replicas: 2
    preload: true
profiles:
  embedded: {{}}
"""
LIMITS = {
    "FJORD_CONCURRENT": "1000",
    "FJORD_REQUESTS_PER_MINUTE": "100000",
    "FJORD_BURST": "1000",
    "FJORD_QUEUE_LIMIT": "1000",
}
MOST_S = 15.0
"""In which what is cut has ended; the others need as long as one engine takes for all of them."""


class Streams:
    """Streams that run, in a thread on the front's host; each result is its events."""

    def __init__(self, host: Host, url: str, key: str) -> None:
        self._host, self._url, self._key = host, url, key
        self.begun = 0
        self.events: list[list[Any]] = []
        self.ended: list[float] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def result(self) -> list[list[Any]]:
        self._thread.join(90)
        assert not self._thread.is_alive(), f"{STREAMS - len(self.events)} streams hang"
        assert len(self.events) == STREAMS
        return self.events

    def _run(self) -> None:
        with self._host.inside():
            asyncio.run(self._all())

    async def _all(self) -> None:
        limits = httpx.Limits(max_connections=STREAMS)
        async with httpx.AsyncClient(timeout=60, limits=limits) as client:
            await asyncio.gather(*(self._one(client, number) for number in range(STREAMS)))

    async def _one(self, client: httpx.AsyncClient, number: int) -> None:
        body = {
            **{"model": "tiny", "max_tokens": TOKENS, "ignore_eos": True, "stream": True},
            "messages": [{"role": "user", "content": f"{number} boats"}],
            "logit_bias": {LETTER: 100},
            "stream_options": {"include_usage": True, "continuous_usage_stats": True},
        }
        headers, rest = {"X-API-Key": self._key}, b""
        events: list[Any] = []
        url = f"{self._url}/v1/chat/completions"
        async with client.stream("POST", url, json=body, headers=headers) as answer:
            assert answer.status_code == 200, await answer.aread()
            async for piece in answer.aiter_bytes():
                *whole, rest = (rest + piece).split(b"\n\n")
                found = [event[6:] for event in whole if event.startswith(b"data: ")]
                self.begun += bool(found and not events)
                events += [e if e == b"[DONE]" else json.loads(e) for e in found]
        self.events.append(events)
        self.ended.append(time.monotonic())


class Front:
    def __init__(self, site: RaySite, server: Server) -> None:
        self.site, self.server = site, server
        self.url = f"http://127.0.0.1:{server.port}"

    def ready(self) -> int:
        with ThreadPoolExecutor(1) as pool:
            engines = pool.submit(self._get, "/ready").result().json()["engines"]
        return sum(engine["state"] == "ready" for engine in engines)

    def _get(self, path: str) -> httpx.Response:
        with self.site.one.inside():
            return httpx.get(self.url + path, timeout=10)

    def under_streams(self, act: Callable[[], None]) -> list[list[Any]]:
        """What came of each stream, `act` done in their middle."""
        streams = Streams(self.site.one, self.url, self.server.key())
        wait_for(lambda: streams.begun >= BEGUN, "the streams have first tokens")
        act()
        acted = time.monotonic()
        events = streams.result()
        cut = [at for at, own in zip(streams.ended, events, strict=True) if is_cut(own)]
        assert 0 < len(cut) < STREAMS
        assert max(cut) - acted < MOST_S
        return events


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    skip_without_hosts()
    folder = tmp_path_factory.mktemp("ray")
    source = make_llama(folder / "model")
    (folder / "model_registry.yaml").write_text(REGISTRY.format(source=source))
    with two_hosts() as hosts, ray_site(hosts) as site:
        site.start()
        command, variables = site.one.argv(FJORD), LIMITS | site.variables()
        with serving(
            folder, command=command, at_terminal=False, has_port=True, **variables
        ) as server:
            server.until("Ready", 120)
            found = Front(site, server)
            wait_for(lambda: found.ready() == 2, "both replicas serve", 120)
            yield found


@pytest.mark.timeout(400)
def test_an_engine_is_killed_then_its_host_is_cut_off_and_nothing_is_lost(front: Front) -> None:
    (core,) = front.site.engines()
    killed = front.under_streams(lambda: os.kill(core.pid, signal.SIGKILL))
    wait_for(lambda: front.ready() == 2, "the killed one is there again", 120)
    cut = front.under_streams(front.site.two.cut)
    assert front.ready() == 1
    front.site.two.mend()
    assert front.server.process.poll() is None
    got = sorted((end_of(events), tokens_of(events)) for events in (*killed, *cut))
    records = read_records(front.server.home / "data")
    billed = sorted((record["end"], record["completion_tokens"]) for record in records)
    assert billed == got
    assert {n for end, n in got if end == "length"} == {TOKENS}
    assert min(n for _, n in got) > 0, "what had no token went to the other replica"
    wait_for(lambda: front.ready() == 2, "the host's replica is there again", 120)
    # Nothing of Ray's or ours outlives a front that nobody asked.
    front.server.process.kill()
    wait_for(lambda: not front.site.engines() and not actors("RayPulse"), "no actor is left", 20)


def is_cut(events: list[Any]) -> bool:
    return any("error" in event for event in events if event != b"[DONE]")


def end_of(events: list[Any]) -> str:
    """As the ledger says it."""
    assert events[-1] == b"[DONE]"
    if not is_cut(events):
        return "length"
    assert events[-2]["error"]["code"] == "MODEL_UNAVAILABLE"
    return "engine_died"


def tokens_of(events: list[Any]) -> int:
    """By the last usage that the client got."""
    told = [e["usage"]["completion_tokens"] for e in events if e != b"[DONE]" and e.get("usage")]
    return int(told[-1]) if told else 0
