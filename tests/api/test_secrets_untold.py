"""What is wrong is told without paths and hosts to those who need no key, and without passwords to
anybody: an unreachable database, a mirror that is away, weights that are not there."""

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support.serve_process import Server, serving
from tests.support.serving import wait_until

REGISTRY = """\
models:
  hub: {source: acme/secret-model, engine: llamacpp, context: 1K, output: 100, preload: true}
  folder: {source: /srv/secret/weights, engine: llamacpp, context: 1K, output: 100, preload: true}
  scripted: {source: echo, engine: scripted, context: 1K, output: 100, preload: true}
profiles:
  embedded: {}
"""
PASSWORDS = ("hunter2", "hunter%252", "hunter%2", "tr0ub4dor")
HOSTS_AND_PATHS = ("127.0.0.1:9", "site_db", "fjordian", "/srv", "secret/weights", "huggingface.co")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One in which all of it is wrong, and told as far as it will be."""
    home = tmp_path_factory.mktemp("home")
    (home / "model_registry.yaml").write_text(REGISTRY)
    wrong: dict[str, Any] = {
        "FJORD_LEDGER_URL": "postgresql://fjordian:hunter%252@127.0.0.1:9/site_db",
        "HF_ENDPOINT": "http://fjordian:tr0ub4dor@127.0.0.1:9",
    }
    with serving(home, **wrong) as running:
        url = running.url()
        wait_until(lambda: states(url) == {"failed", "ready"}, "all is told")
        yield running


def states(url: str) -> set[str]:
    return {engine["state"] for engine in httpx.get(f"{url}/ready").json()["engines"]}


def told(server: Server, path: str, status: int) -> str:
    operator = (server.home / "data/operator_token").read_text().strip()
    headers = {"X-API-Key": operator} if path.startswith("/admin") else {}
    answer = httpx.get(f"http://127.0.0.1:{server.port}{path}", headers=headers, timeout=30)
    assert answer.status_code == status, answer.text
    return answer.text


@pytest.mark.parametrize(("path", "status"), [("/ready", 503), ("/metrics", 200), ("/", 200)])
def test_who_needs_no_key_hears_no_path_host_or_password(
    server: Server, path: str, status: int
) -> None:
    text = told(server, path, status)
    assert [each for each in (*PASSWORDS, *HOSTS_AND_PATHS) if each in text] == []
    assert str(server.home) not in text


def test_ready_says_which_part_is_wrong_all_the_same(server: Server) -> None:
    ready = httpx.get(f"http://127.0.0.1:{server.port}/ready").json()
    failed = {e["aliases"][0]: e["reason"] for e in ready["engines"] if e["state"] == "failed"}
    assert failed == dict.fromkeys(
        ("hub", "folder"), "It could not be loaded; the server's log says why."
    )
    assert ready["refusing"] == {
        "ledger": "Usage cannot be recorded now; the server's log says why."
    }


@pytest.mark.parametrize("path", ["/admin/v1/models", "/admin/v1/keys", "/admin/v1/usage"])
def test_operators_hear_no_password(server: Server, path: str) -> None:
    text = told(server, path, 200 if path == "/admin/v1/models" else 503)
    assert [each for each in PASSWORDS if each in text] == []
    if path == "/admin/v1/models":
        assert "127.0.0.1:9 cannot be reached" in text


def test_the_log_says_why_without_a_password(server: Server) -> None:
    server.process.terminate()
    server.process.wait(30)
    server.reader.join()
    while line := server.lines.get():
        server.said.append(line)
    text = "".join(server.said)
    assert [each for each in PASSWORDS if each in text] == []
    assert "/srv/secret/weights" in text
    assert re.search("database is away.*127.0.0.1", text)
    assert "http://127.0.0.1:9 cannot be reached for acme/secret-model" in text
