"""A front and its nodes, each a process: they can be killed, stopped and started again."""

import asyncio
import json
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from server.ledger import postgres
from server.ledger.database import PostgresDatabase
from server.ledger.key_store import KeyStore
from server.ledger.keys import Key
from tests.support.peers import free_port
from tests.support.serve_process import Server, serving
from tests.support.serving import read_records, wait_until

REGISTRY = """\
models:
  m:
    source: echo
    engine: scripted
    args: {args}
    context: 16K
    output: 8K
    preload: true
    nodes: {nodes}
    price: {{input: "1", output: "2"}}
profiles:
  embedded: {{}}
"""


@dataclass
class Heard:
    """What one client had of its stream."""

    status: int = 0
    tokens: int = 0
    error: str = ""
    usage: dict[str, Any] | None = None
    ended_at: float = 0.0
    request_id: str = ""
    texts: list[str] = field(default_factory=list)


class ProcessSite:
    """`processes` by their names."""

    def __init__(self, folder: Path, url: str, gpus: int, args: dict[str, Any]) -> None:
        self.folder, self.url = folder, url
        self.names = [f"gpu-{i + 1}" for i in range(gpus)]
        self.ports = {name: free_port() for name in ("front-1", *self.names)}
        self.registry = REGISTRY.format(args=json.dumps(args), nodes=json.dumps(self.names))
        self.processes: dict[str, Server] = {}
        self.stack = ExitStack()
        self.key = ""

    def start(self, name: str) -> None:
        home = self.folder / name
        home.mkdir(exist_ok=True)
        (home / "model_registry.yaml").write_text(self.registry)
        port = str(self.ports[name])
        self.processes[name] = self.stack.enter_context(
            serving(
                home,
                *("--port", port, "--advertise", f"http://127.0.0.1:{port}"),
                has_port=False,
                FJORD_NODE=name,
                FJORD_LEDGER_URL=self.url,
                FJORD_REQUESTS_PER_MINUTE="1000000",
                FJORD_CONCURRENT="1000",
            )
        )

    def address(self, name: str) -> str:
        return f"http://127.0.0.1:{self.ports[name]}"

    def signal(self, name: str, number: signal.Signals) -> None:
        self.processes[name].process.send_signal(number)

    def admin(self, path: str, method: str = "GET", name: str = "front-1") -> Any:
        token = next((self.folder / name / "data").glob("operator_token*")).read_text().strip()
        headers = {"X-API-Key": token}
        answer = httpx.request(method, f"{self.address(name)}/admin/v1{path}", headers=headers)
        assert answer.status_code < 300, answer.text
        return answer.json()

    def ways(self) -> int:
        """To nodes, by which the front serves."""
        [model] = self.admin("/models")["models"]
        ready: int = model["ready_replicas"]
        return ready

    def run(self, count: int, **body: Any) -> "list[Heard]":
        return asyncio.run(self.streams(count, **body))

    def new_key(self) -> str:
        """That the front takes."""
        with closing(PostgresDatabase(postgres.connect(self.url))) as books:
            key = Key(key_id="", name="n", owner="acme")
            text = KeyStore(books).create(key)[1]
        models = f"{self.address('front-1')}/v1/models"
        wait_until(
            lambda: httpx.get(models, headers={"X-API-Key": text}).status_code == 200,
            "the front takes the key",
        )
        return text

    def records(self) -> list[dict[str, Any]]:
        """What the front has billed, by the request's id."""
        return read_records(self.folder / "front-1" / "data")

    async def streams(self, count: int, **body: Any) -> "list[Heard]":
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(timeout=60, limits=limits) as http:
            asked = [self._stream(http, i, body) for i in range(count)]
            return await asyncio.gather(*asked)

    async def _stream(self, http: httpx.AsyncClient, number: int, more: dict[str, Any]) -> Heard:
        heard = Heard()
        messages = [{"role": "user", "content": f"client {number}"}]
        body = {"model": "m", "stream": True, "messages": messages, **more}
        body["stream_options"] = {"include_usage": True, "continuous_usage_stats": True}
        url = f"{self.address('front-1')}/v1/chat/completions"
        headers = {"X-API-Key": self.key}
        async with http.stream("POST", url, json=body, headers=headers) as answer:
            heard.status = answer.status_code
            heard.request_id = answer.headers["x-request-id"]
            async for line in answer.aiter_lines():
                if line.startswith("data: ") and line != "data: [DONE]":
                    _read(heard, json.loads(line[6:]))
        heard.ended_at = time.monotonic()
        return heard


def _read(heard: Heard, event: dict[str, Any]) -> None:
    if "error" in event:
        heard.error = event["error"]["code"]
        return
    heard.usage = event.get("usage") or heard.usage
    for choice in event["choices"]:
        if text := choice["delta"].get("content"):
            heard.texts.append(text)


@contextmanager
def process_site(folder: Path, url: str, gpus: int = 2, **args: Any) -> Iterator[ProcessSite]:
    """`args`: the scripted engine's."""
    site = ProcessSite(folder, url, gpus, args)
    with site.stack:
        for name in site.names:
            site.start(name)
        site.start("front-1")
        for process in site.processes.values():
            process.until("Ready")
        wait_until(lambda: site.ways() == gpus, "the front asks all nodes")
        site.key = site.new_key()
        yield site
