"""A site in this process: nodes with models, and fronts that ask them."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx

from engines.registry.spec import ModelSpec
from tests.support.fronts import Fronts
from tests.support.serving import Served, serving, wait_until


class PeerSite(Fronts):
    """`nodes` are all servers, in the order of their names; requests go to the first, which has no
    engine of its own, unless another is named."""

    key = ""
    key_id = ""

    def post(self, path: str, number: int = 0, **body: Any) -> httpx.Response:
        url = f"{self.nodes[number].url}{path}"
        return httpx.post(url, json=body, headers={"X-API-Key": self.key}, timeout=30)

    def chat(self, text: str = "hi", number: int = 0, **body: Any) -> httpx.Response:
        messages = [{"role": "user", "content": text}]
        return self.post(
            "/v1/chat/completions", number, **{"model": "m", "messages": messages} | body
        )


@contextmanager
def peer_site(
    folder: Path,
    url: str,
    *models: ModelSpec,
    gpus: int = 1,
    fronts: int = 1,
    settings: Any = None,
) -> Iterator[PeerSite]:
    """Fronts front-1…, nodes gpu-1…, which serve `models`."""
    names = [f"front-{i + 1}" for i in range(fronts)] + [f"gpu-{i + 1}" for i in range(gpus)]
    nodes = tuple(f"gpu-{i + 1}" for i in range(gpus))
    specs = [replace(model, nodes=nodes, load="start") for model in models]
    with ExitStack() as stack:
        served = [
            stack.enter_context(started(folder / name, url, name, specs, settings or {}))
            for name in reversed(names)
        ]
        site = PeerSite(url, served[::-1], len(names))
        site.key_id, site.key = site.new_key()
        for server in site.nodes:
            wait_until(server.services.fleet.is_ready, "it asks the others", timeout_s=20)
        yield site


@contextmanager
def started(
    folder: Path, url: str, name: str, specs: list[ModelSpec], settings: dict[str, Any]
) -> Iterator[Served]:
    port = free_port()
    own = {"ledger_url": url, "node": name, "advertise": f"http://127.0.0.1:{port}", **settings}
    fleet = {"check_interval_s": 0.5}
    with serving(folder, *specs, settings=own, fleet=fleet, port=port) as server:
        yield server


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port
