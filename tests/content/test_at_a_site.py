"""What is kept of a request on one node of a site is read on another, and goes from both."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from server.accounts.key_wire import KeyPatch
from server.ledger import postgres
from server.ledger.database import PostgresDatabase
from server.ledger.key_store import KeyStore
from server.ledger.keys import Key
from server.memory.site_key import made_site_key
from tests.support.serving import scripted, serving, wait_until
from tests.support.sites import new_site, postgres_server

pytestmark = pytest.mark.slow
CHAT = {"model": "m", "messages": [{"role": "user", "content": "a secret of theirs"}]}


@pytest.fixture(scope="module")
def database() -> Iterator[Any]:
    with postgres_server() as running:
        yield running


def test_two_nodes_keep_and_read_the_same(database: Any, tmp_path: Path) -> None:
    made_site_key(tmp_path / "site.key")
    url = new_site(database)
    with closing(PostgresDatabase(postgres.connect(url))) as books:
        keys = KeyStore(books)
        key, text = keys.create(Key(key_id="", name="app", owner="acme"))
        _, admin = keys.create(Key(key_id="", name="root", owner="us", service="admin"))
        keys.update(key.key_id, KeyPatch(content="full").apply)
    settings = {"ledger_url": url, "memory_key": tmp_path / "site.key"}
    model = scripted("m")
    with (
        serving(tmp_path / "n1", model, settings=settings) as one,
        serving(tmp_path / "n2", model, settings=settings) as two,
        httpx.Client(headers={"X-API-Key": text}, timeout=60) as client,
        httpx.Client(headers={"X-API-Key": admin}, timeout=60) as operator,
    ):
        answer: list[httpx.Response] = []

        def is_kept() -> bool:
            answer[:] = [client.post(f"{one.url}/v1/chat/completions", json=CHAT)]
            said: str | None = answer[0].headers.get("x-content-kept")
            return said == "full"

        wait_until(is_kept, "the node knows the key")
        path = f"/admin/v1/requests/{answer[0].headers['x-request-id']}/content"
        wait_until(lambda: operator.get(two.url + path).status_code == 200, "it is kept")
        assert "a secret of theirs" in operator.get(two.url + path).json()["content"]["body"]
        listed = f"{two.url}/admin/v1/kept-requests"
        [first, *_] = operator.get(listed).json()["requests"]
        behind = {"before": first["at"] + 1, "behind": first["kept_id"]}
        found = operator.get(listed, params={**behind, "owner": "acme"}).json()["requests"]
        assert first["kept_id"] in [each["kept_id"] for each in found], "it is of a second before"
        behind["before"] = first["at"]
        found = operator.get(listed, params=behind).json()["requests"]
        assert first["kept_id"] not in [each["kept_id"] for each in found]
        with closing(PostgresDatabase(postgres.connect(url))) as books:
            [(sealed,)] = books.query("SELECT sealed FROM memory_requests LIMIT 1")
        assert b"secret" not in bytes(sealed)
        assert operator.delete(f"{one.url}/admin/v1/owners/acme/memory").status_code == 200
        assert operator.get(two.url + path).status_code == 404
