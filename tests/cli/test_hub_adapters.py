"""Adapters of the hub while a server runs: fetched at the start or by a request, taken anew by an
apply, and a bad one costs its own alias alone."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.adapters import adapter_files, adapter_folder
from tests.support.command import fjord_here as fjord
from tests.support.hub import COMMIT, Hub, running_hub
from tests.support.serve_process import Server, ask, serving_registry
from tests.support.serving import read_records, wait_until

pytestmark = pytest.mark.slow  # processes of their own

REGISTRY = """\
models:
  tiny: {source: echo, engine: scripted, context: 4K, output: 1K, load: start, replicas: 2}
  first: {adapter: owner/name, base: tiny, load: start}
  gone: {adapter: owner/name, adapter_revision: v9, base: tiny}
profiles:
  embedded: {}
"""


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with running_hub() as running:
        running.files = adapter_files(adapter_folder(tmp_path / "made"))
        for name, value in running.environment(tmp_path / "hf").items():
            monkeypatch.setenv(name, value)
        yield running


QUIET = """\
models:
  tiny: {source: echo, engine: scripted, context: 4K, output: 1K, load: start}
  quiet: {adapter: owner/name, base: tiny, load: never}
profiles:
  embedded: {}
"""


@pytest.fixture
def server(hub: Hub, tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "site").mkdir()
    with serving_registry(tmp_path / "site", REGISTRY) as server:
        yield server


def said(server: Server, model: str) -> str:
    answer = ask(f"http://127.0.0.1:{server.port}", server.key(), model=model)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["choices"][0]["message"]["content"])


def apply(server: Server) -> str:
    told = fjord(server.home, "apply", "--port", server.port)
    return told.stdout + told.stderr


def test_adapters_of_the_hub_come_and_a_bad_one_costs_itself_alone(
    hub: Hub, server: Server, tmp_path: Path
) -> None:
    wait_until(lambda: len(hub.served) == 2, "the fetch that nobody has asked for yet")
    assert said(server, "first") == "owner/name@main: hei du"
    assert said(server, "tiny") == "hei du"
    refused = ask(f"http://127.0.0.1:{server.port}", server.key(), model="gone")
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "30")
    assert refused.json()["error"]["code"] == "MODEL_UNAVAILABLE"
    assert "owner/name" not in refused.text
    assert said(server, "first") == "owner/name@main: hei du"
    data = server.home / "data"
    assert {r["weights"] for r in read_records(data) if r["alias"] == "first"} == {
        "echo+owner/name"
    }

    assert apply(server) == "first: changed (adapter)\n", "its commit is known from now on"
    assert apply(server) == "Nothing differs.\n"
    assert said(server, "first") == f"owner/name@{COMMIT[:12]}: hei du"

    hub.commit = "f" * 40
    assert fjord(server.home, "weights", "pull", "first").returncode == 0
    assert said(server, "first") == f"owner/name@{COMMIT[:12]}: hei du"
    assert apply(server) == "first: changed (adapter)\n"
    assert said(server, "first") == f"owner/name@{'f' * 12}: hei du"

    hub.commit = "a" * 40
    hub.files = adapter_files(adapter_folder(tmp_path / "bad", rank=8, tensors=64))
    late = REGISTRY.replace("v9", hub.commit)
    (server.home / "model_registry.yaml").write_text(late)
    assert apply(server) == "gone: changed (adapter)\n", "what is not here is not known"
    for _ in range(2):
        refused = ask(f"http://127.0.0.1:{server.port}", server.key(), model="gone")
        assert refused.status_code == 503
    assert said(server, "first") == f"owner/name@{'f' * 12}: hei du"
    assert "model 'gone', key 'adapter': 'owner/name': its adapter_config" in apply(server)


def test_an_operator_s_word_fetches_and_loads_one_while_the_server_runs(
    hub: Hub, tmp_path: Path
) -> None:
    (tmp_path / "site").mkdir()
    with serving_registry(tmp_path / "site", QUIET) as server:
        url, key = f"http://127.0.0.1:{server.port}", server.key()
        token = {"X-API-Key": (server.home / "data" / "operator_token").read_text().strip()}
        assert ask(url, key, model="quiet").status_code == 503
        assert hub.served == []
        loaded = httpx.post(f"{url}/admin/v1/models/quiet/load", headers=token)
        assert (loaded.status_code, loaded.json()["weights"]) == (200, "echo+owner/name")
        wait_until(lambda: len(hub.served) == 2, "the fetch that the load begins")
        assert said(server, "quiet") == "owner/name@main: hei du"
        late = QUIET.replace("profiles:", "  own: {adapter: ../made, base: tiny}\nprofiles:")
        (server.home / "model_registry.yaml").write_text(late)
        path = f"{url}/admin/v1/registry"
        tried = httpx.post(path, headers=token, params={"dry_run": "true"}).json()
        assert {m["alias"]: m["kind"] for m in tried["models"]} == {
            "quiet": "changed",
            "own": "added",
        }
        assert ask(url, key, model="own").status_code == 404
        assert httpx.post(path, headers=token).json()["applied"]
        assert said(server, "own").endswith(": hei du")
        assert httpx.post(path, headers={"X-API-Key": key}).status_code in (401, 403)
