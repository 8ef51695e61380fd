"""A server with some minutes of traffic of every kind that Grafana's boards show, and a Prometheus
that has watched it: for the boards' pictures (board_pictures.py)."""

import asyncio
import contextlib
import math
import random
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml

from engines.testing.tiny import make_llama
from tests.support.certificates import made
from tests.support.key_commands import keys
from tests.support.paths import ROOT
from tests.support.prometheus import Prometheus, prometheus_tools, running
from tests.support.serve_process import Server, serving

SCRAPE_S = 2
CROWD = 24
REGISTRY = """\
models:
  tiny-llama:
    source: {tiny}
    engine: vllm
    args: {{max_model_len: 2048, kv_cache_memory_bytes: 67108864}}
    context: 2K
    output: 1K
    preload: true
    price: {{input: "4", output: "12"}}
  mixtral-8x7b:
    source: mixtral
    engine: scripted
    args: {{text: "{words}", token_delay_s: 0.02, first_token_delay_s: 0.15}}
    context: 32K
    output: 4K
    preload: true
    price: {{input: "4", cached_input: "1", output: "12"}}
  qwen3-80b:
    source: qwen
    engine: scripted
    args: {{text: "{words}", reasoning: "{words}", token_delay_s: 0.035, load_s: 3}}
    context: 32K
    output: 4K
    load: demand
    keep: 20s
    price: {{input: "8", cached_input: "2", output: "30"}}
  flaky:
    source: flaky
    engine: scripted
    args: {{text: "{words}", token_delay_s: 0.05, die_after_tokens: 12, load_s: 2}}
    context: 4K
    output: 1K
    preload: true
    price: {{input: "1", output: "2"}}
profiles:
  embedded: {{}}
"""
WORDS = " ".join(f"word{number}" for number in range(60))


@contextmanager
def watched(folder: Path, minutes: float) -> Iterator[Prometheus]:
    """A Prometheus that has scraped `minutes` of it."""
    tools = prometheus_tools(folder)
    tiny = make_llama(folder / "tiny-llama")
    registry = REGISTRY.format(tiny=tiny, words=WORDS)
    (folder / "model_registry.yaml").write_text(registry)
    cert, key = made(last_day=12).lie_at(folder)
    with serving(folder, "--tls-cert", str(cert), "--tls-key", str(key)) as server:
        server.until("Ready", 240)
        config = _configured(folder, server.port)
        with running(tools["prometheus"], config, folder) as prometheus:
            asyncio.run(_Traffic(server, folder / "data").run(minutes * 60))
            yield prometheus


def _configured(folder: Path, port: str) -> Path:
    """The shipped configuration, for this one server, and scraped more often."""
    shipped = ROOT / "deploy/prometheus"
    read = yaml.safe_load((shipped / "prometheus.yml").read_text())
    every = f"{SCRAPE_S}s"
    read["global"] = {"scrape_interval": every, "evaluation_interval": every}
    read["rule_files"] = [str(shipped / name) for name in read["rule_files"]]
    [job] = read["scrape_configs"]
    job |= {"scheme": "https", "tls_config": {"insecure_skip_verify": True}}
    job["static_configs"] = [{"targets": [f"127.0.0.1:{port}"]}]
    job["relabel_configs"] = [{"target_label": "instance", "replacement": "gpu-1:8080"}]
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(read))
    return path


class _Traffic:
    """Clients of three owners, whose number rises and falls, and what goes wrong beside them."""

    def __init__(self, server: Server, data_dir: Path) -> None:
        self._url = f"https://127.0.0.1:{server.port}"
        self._data_dir = data_dir
        self._drawn = random.Random(7)
        self._began = time.monotonic()

    async def run(self, seconds: float) -> None:
        owners = {
            "team-a": await self._key("team-a"),
            "nightly": await self._key("nightly", "--requests-per-minute", "30", "--burst", "2"),
            "interns": await self._key("interns", "--budget", "9000 tokens/total"),
        }
        limits = httpx.Limits(max_connections=200)
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        async with httpx.AsyncClient(verify=context, limits=limits, timeout=60) as self._client:
            clients = [self._ask_on(owners, number) for number in range(CROWD)]
            work = asyncio.gather(*clients, self._accidents(owners["team-a"]))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(work, seconds)

    async def _key(self, owner: str, *limits: str) -> str:
        words = ("create", "--name", owner, "--owner", owner, *limits)
        text: str = (await asyncio.to_thread(keys, self._data_dir, *words))["key"]
        return text

    async def _ask_on(self, owners: dict[str, str], number: int) -> None:
        """The `number`th of the crowd: it asks while the crowd is that large."""
        await asyncio.sleep(2)  # the server has seen the keys
        while True:
            phase = 2 * math.pi * (time.monotonic() - self._began) / 80
            if number < CROWD * (0.55 - 0.45 * math.cos(phase)):
                owner = self._drawn.choices([*owners], [8, 1, 1])[0]
                await self._ask(owners[owner])
            await asyncio.sleep(0.2 + self._drawn.random())

    async def _ask(self, key: str) -> None:
        model = self._drawn.choices(["mixtral-8x7b", "tiny-llama", "qwen3-80b"], [5, 3, 1])[0]
        text = " ".join(["please"] * self._drawn.randint(5, 150))
        await self._post(
            key,
            model=model,
            stream=self._drawn.random() < 0.7,
            max_tokens=self._drawn.randint(10, 120),
            messages=[{"role": "user", "content": text}],
        )

    async def _accidents(self, key: str) -> None:
        """An engine that dies, broken forms, mistakes of clients: now and then."""
        hello = [{"role": "user", "content": "hello"}]
        while True:
            await asyncio.sleep(9)
            form = {"type": "json_object"}
            await self._post(key, model="mixtral-8x7b", messages=hello, response_format=form)
            for wrong in ({"temperature": 9}, {"model": "nope"}, {"frequency": 1, "x_trace": 2}):
                await self._post(key, **{"model": "mixtral-8x7b", "messages": hello, **wrong})
            if self._drawn.random() < 0.25:
                await self._post(key, model="flaky", messages=hello)

    async def _post(self, key: str, **body: Any) -> None:
        with contextlib.suppress(httpx.HTTPError):
            path = f"{self._url}/v1/chat/completions"
            await self._client.post(path, json=body, headers={"X-API-Key": key})
