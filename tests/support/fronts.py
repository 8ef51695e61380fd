"""Several servers of one site, in this process, on a real PostgreSQL."""

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import httpx

from server.ledger import postgres
from server.ledger.database import PostgresDatabase
from server.ledger.key_store import KeyStore
from server.ledger.keys import Key
from server.ledger.records import KeyLimits
from tests.support.serving import Served, scripted, serving, wait_until

MODEL = scripted("m", text="one two")
CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


class Fronts:
    """Servers that know of each other."""

    def __init__(self, url: str, nodes: list[Served], known: int) -> None:
        self.url, self.nodes, self.count = url, nodes, known
        wait_until(lambda: all(self.known(node) for node in nodes), "all know of all")

    def known(self, node: Served) -> bool:
        return node.services.limiter.shares.nodes == self.count

    def new_key(self, **limits: int) -> tuple[str, str]:
        """Id and text of a key that all of them take."""
        with self.books() as books:
            key, text = KeyStore(books).create(
                Key(key_id="", name="n", owner="acme", limits=KeyLimits(**limits))
            )
        wait_until(lambda: all(self.takes(node, text) for node in self.nodes), "all take the key")
        return key.key_id, text

    def takes(self, node: Served, text: str) -> bool:
        ring = node.services.ring
        return any(known.key.key_id in text for known in ring.by_hash.values())

    @contextmanager
    def books(self) -> Iterator[PostgresDatabase]:
        with closing(PostgresDatabase(postgres.connect(self.url))) as books:
            yield books

    def send(self, number: int, text: str) -> httpx.Response:
        """One chat to one of them."""
        url = f"{self.nodes[number].url}/v1/chat/completions"
        return httpx.post(url, json=CHAT, headers={"X-API-Key": text}, timeout=60)


@contextmanager
def fronts(
    folder: Path, url: str, count: int = 2, known: int | None = None, **settings: Any
) -> Iterator[Fronts]:
    """`known`: how many the site has by then, if not these alone."""
    with ExitStack() as stack:
        nodes = [
            stack.enter_context(
                serving(folder / f"n{i}", MODEL, settings={"ledger_url": url, **settings})
            )
            for i in range(count)
        ]
        yield Fronts(url, nodes, known or count)
