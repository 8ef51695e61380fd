"""A site's node that is killed while it answers a request with a key: another one is asked again,
and the site has one record of it, whoever's arrives first."""

import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from server.ledger import postgres
from server.ledger.database import PostgresDatabase
from server.ledger.key_store import KeyStore
from server.ledger.keys import Key
from server.memory.site_key import made_site_key
from tests.support.keyed import CHAT
from tests.support.serve_process import Server, serving
from tests.support.serving import wait_until
from tests.support.sites import new_site, postgres_server
from tests.support.wire_checks import assert_error

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
REGISTRY: Final = """\
models:
  tiny:
    source: echo
    engine: scripted
    args: {text: "%s", token_delay_s: %s}
    context: 4K
    output: 1K
    preload: true
    price: {input: "1000", output: "1000"}
profiles:
  embedded: {}
"""
WORDS: Final = " ".join(f"w{i}" for i in range(60))
LOST: Final = "UPDATE idempotency_entries SET beat_at = now() - interval '2 minutes'"
RECORDS: Final = 'SELECT record_id, "end", amount, node FROM usage_records WHERE amount > 0'


@pytest.fixture(scope="module")
def database() -> Iterator[Any]:
    with postgres_server() as running:
        yield running


class KilledSite:
    def __init__(self, database: Any, folder: Path) -> None:
        self.url, self.folder = new_site(database), folder
        made_site_key(folder / "site.key")
        key = Key(key_id="", name="k", owner="acme")
        with closing(PostgresDatabase(postgres.connect(self.url))) as books:
            self.key = KeyStore(books).create(key)[1]

    def node(self, name: str, delay_s: float) -> Any:
        home = self.folder / name
        home.mkdir(exist_ok=True)
        (home / "model_registry.yaml").write_text(REGISTRY % (WORDS, delay_s))
        return serving(
            home,
            FJORD_LEDGER_URL=self.url,
            FJORD_MEMORY_KEY=str(self.folder / "site.key"),
            FJORD_NODE=name,
        )

    def query(self, sql: str) -> list[Any]:
        with closing(PostgresDatabase(postgres.connect(self.url))) as books:
            return books.query(sql) if sql.startswith("SELECT") else [books.execute(sql)]

    def request(self, server: Server) -> dict[str, Any]:
        headers = {"X-API-Key": self.key, "Idempotency-Key": "k"}
        body = {"model": "tiny", "messages": [{"role": "user", "content": "hei"}], "stream": True}
        return {"url": f"http://127.0.0.1:{server.port}{CHAT}", "headers": headers, "json": body}

    def asked(self, server: Server) -> httpx.Response:
        """Once the node knows the API key."""
        answers: list[httpx.Response] = []

        def is_known() -> bool:
            answers.append(httpx.post(**self.request(server), timeout=60))
            return answers[-1].status_code != 401 and "ledger" not in answers[-1].text

        wait_until(is_known, "the node knows the key")
        return answers[-1]

    def request_bytes(self, server: Server) -> bytes:
        request = httpx.Request("POST", **self.request(server))
        lines = b"".join(b"%b: %b\r\n" % pair for pair in request.headers.raw)
        return b"POST %b HTTP/1.1\r\n%b\r\n" % (CHAT.encode(), lines) + request.read()

    def until_known(self, server: Server) -> None:
        models = f"http://127.0.0.1:{server.port}/v1/models"
        headers = {"X-API-Key": self.key}
        wait_until(lambda: httpx.get(models, headers=headers).status_code == 200, "it is known")

    def killed_while_it_answers(self, server: Server) -> None:
        self.until_known(server)
        with httpx.stream("POST", **self.request(server), timeout=60) as answer:
            pieces, seen = answer.iter_text(), ""
            while "w12" not in seen:  # progress is noted every second
                seen += next(pieces)
            server.ends(signal.SIGKILL)


def ready(server: Server) -> Server:
    server.url()
    server.until("Ready")
    return server


def test_another_node_answers_and_the_bill_is_one(database: Any, tmp_path: Path) -> None:
    site = KilledSite(database, tmp_path)
    with site.node("n1", 0.2) as one:
        site.killed_while_it_answers(ready(one))
    with site.node("n2", 0) as two:
        ready(two)
        site.query(LOST)  # a minute later
        answer = site.asked(two)
        assert answer.status_code == 200, answer.text
        assert "w59" in answer.text
        wait_until(lambda: site.query(RECORDS), "it has come to the site")
        with site.node("n1", 0) as one:  # which records what it had generated
            again = site.asked(ready(one))
            assert (again.content, again.headers["idempotency-replayed"]) == (
                answer.content,
                "true",
            )
            unshipped = f"http://127.0.0.1:{one.port}/metrics"
            wait_until(
                lambda: "fjord_ledger_unshipped_records 0.0" in httpx.get(unshipped).text,
                "it has told the site",
            )
    assert [(end, node) for _, end, _, node in site.query(RECORDS)] == [("ok", "n2")]


def test_what_came_to_the_site_before_is_not_answered_again(database: Any, tmp_path: Path) -> None:
    site = KilledSite(database, tmp_path)
    with site.node("n1", 0.2) as one:
        site.killed_while_it_answers(ready(one))
    with site.node("n1", 0) as one:
        ready(one)
        wait_until(lambda: site.query(RECORDS), "it has told the site")
        lost = site.asked(one)
        assert_error(lost, 409, "IDEMPOTENCY_ANSWER_LOST", "Idempotency-Key")
        with site.node("n2", 0) as two:
            site.query(LOST)
            lost = site.asked(ready(two))
            assert_error(lost, 409, "IDEMPOTENCY_ANSWER_LOST", "Idempotency-Key")
    assert [end for _, end, _, _ in site.query(RECORDS)] == ["lost"]


def test_a_node_that_drains_lets_nobody_wait_for_another(database: Any, tmp_path: Path) -> None:
    site = KilledSite(database, tmp_path)
    with site.node("n1", 0.3) as one, site.node("n2", 0) as two, ThreadPoolExecutor(2) as pool:
        for server in (ready(one), ready(two)):
            site.until_known(server)
        first = pool.submit(httpx.post, **site.request(one), timeout=60)
        runs = "SELECT 1 FROM idempotency_entries WHERE NOT is_over"
        wait_until(lambda: site.query(runs), "it runs")
        with socket.create_connection(("127.0.0.1", int(two.port))) as waiting:
            waiting.sendall(site.request_bytes(two))
            site.until_known(two)  # what came before that is being answered
            began = time.monotonic()
            two.ends(signal.SIGTERM)
            assert time.monotonic() - began < 10
            said = b""
            while piece := waiting.recv(65536):
                said += piece
        assert said.startswith(b"HTTP/1.1 503")
        assert b"SHUTTING_DOWN" in said
        one.ends(signal.SIGKILL)
        assert first.exception() is not None
