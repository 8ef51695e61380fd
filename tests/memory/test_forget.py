"""All that is kept of an owner, destroyed at once: by a command, and over the admin API."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from server.idempotency.forgetting import forget_owner
from server.memory.errors import NotKept
from tests.support.memories import kept, memory_at
from tests.support.responses import ASK, MODELS
from tests.support.serve_process import fjord
from tests.support.serving import Served, empty_ledger, make_key, scripted, serving, wait_until

URL = "/v1/responses"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    slow = scripted("slow", text="a " * 3000, token_delay_s=0.01)
    with serving(tmp_path, *MODELS, slow) as server:
        yield server


def test_the_command_asks_first_and_says_what_it_did(tmp_path: Path) -> None:
    data = tmp_path / "data"
    empty_ledger(data)
    memory = memory_at(data)
    memory.keep(kept("resp_a", owner="acme"), (), (), ())
    memory.keep(kept("resp_b", owner="others"), (), (), ())
    refused = fjord(tmp_path, "forget", "acme")
    assert refused.returncode == 2
    assert "at no terminal, with --yes" in refused.stderr
    assert memory.responses.find("resp_a", "acme")
    done = fjord(tmp_path, "forget", "acme", "--yes")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "Destroyed 1 responses and conversations of acme.\n"
    with pytest.raises(NotKept):
        memory.responses.find("resp_a", "acme")
    assert memory.responses.find("resp_b", "others")
    nowhere = fjord(tmp_path, "forget", "acme", "--yes", "--data-dir", "nowhere")
    assert (nowhere.returncode, len(nowhere.stderr.splitlines())) == (2, 1)


def test_an_admin_destroys_it_while_it_runs(served: Served) -> None:
    admin = {"X-API-Key": make_key(served.data_dir, service="admin", owner="operators")}
    with httpx.Client(base_url=served.url, headers=served.headers, timeout=60) as client:
        made: dict[str, Any] = client.post(URL, json=ASK).json()
        body = {"model": "slow", "input": "x", "background": True}
        running: dict[str, Any] = client.post(URL, json=body).json()
        wait_until(
            lambda: client.get(f"{URL}/{running['id']}").json()["status"] == "in_progress",
            "it runs",
        )
        url = f"{served.url}/admin/v1/owners/tests/memory"
        assert httpx.delete(url, headers=served.headers).status_code in (401, 403)
        usage = f"{served.url}/admin/v1/keys"
        wait_until(lambda: httpx.get(usage, headers=admin).status_code == 200, "its key is known")
        answer = httpx.delete(url, headers=admin, timeout=30)
        assert answer.json() == {"owner": "tests", "destroyed": 2, "answers": 0}
        for response in (made, running):
            assert client.get(f"{URL}/{response['id']}").status_code == 404
        assert client.post(URL, json=ASK).status_code == 200


def test_answers_that_were_kept_for_a_key_go_too_and_nothing_is_billed_twice(
    served: Served,
) -> None:
    admin = {"X-API-Key": make_key(served.data_dir, service="admin", owner="operators")}
    url = f"{served.url}/admin/v1/owners/tests/memory"
    keyed = {"Idempotency-Key": "a-key"}
    with httpx.Client(base_url=served.url, headers=served.headers, timeout=60) as client:
        first = client.post(URL, json=ASK, headers=keyed)
        again = client.post(URL, json=ASK, headers=keyed)
        assert (first.status_code, again.content) == (200, first.content)
        known = f"{served.url}/admin/v1/keys"
        wait_until(lambda: httpx.get(known, headers=admin).status_code == 200, "its key is known")
        assert httpx.delete(url, headers=admin, timeout=30).json()["answers"] == 1
        lost = client.post(URL, json=ASK, headers=keyed)
        assert (lost.status_code, lost.json()["error"]["code"]) == (
            409,
            "IDEMPOTENCY_ANSWER_LOST",
        )
    assert forget_owner(served.data_dir, None, "tests") == 0
    assert forget_owner(served.data_dir, None, "nobody") == 0
