"""The last requests of a server: what each was, what its time went into, what it cost."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from server.http.recent_requests import RecentRequests
from server.http.request_log import RequestLine
from tests.support.serve_process import fjord, serving_registry
from tests.support.serving import Served, make_key, scripted, serving, wait_until

CHAT = "/v1/chat/completions"
ASK = {"model": "m", "messages": [{"role": "user", "content": "Hi you there"}]}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    models = (
        scripted("m", first_token_delay_s=0.05, token_delay_s=0.01),
        scripted("embeds", task="embed"),
    )
    with serving(tmp_path_factory.mktemp("recent"), *models) as made:
        yield made


@pytest.fixture(scope="module")
def admin(served: Served) -> Iterator[httpx.Client]:
    headers = {"X-API-Key": make_key(served.data_dir, service="admin")}
    with httpx.Client(base_url=f"{served.url}/admin/v1", headers=headers, timeout=60) as client:
        wait_until(lambda: client.get("/usage").status_code == 200, "the key is taken")
        yield client


def sent(served: Served, request_id: str, path: str = CHAT, **more: Any) -> int:
    headers = {**served.headers, "X-Request-Id": request_id}
    return httpx.post(served.url + path, json=ASK | more, headers=headers).status_code


def last(admin: httpx.Client, request_id: str) -> dict[str, Any]:
    wait_until(
        lambda: admin.get(f"/requests/{request_id}").status_code == 200, f"{request_id} ends"
    )
    found: dict[str, Any] = admin.get(f"/requests/{request_id}").json()
    return found


@pytest.mark.parametrize("stream", [True, False])
def test_one_request_and_where_its_time_went(
    served: Served, admin: httpx.Client, stream: bool
) -> None:
    name = f"one-{stream}"
    assert sent(served, name, stream=stream, agent_id="crew") == 200
    found = last(admin, name)
    assert (found["status"], found["code"], found["end"]) == (200, None, "ok")
    assert (found["alias"], found["owner"], found["agent_id"]) == ("m", "tests", "crew")
    assert (found["path"], found["stream"]) == (CHAT, stream)
    assert found["completion_tokens"] == 4
    assert found["amount"] == f"0.{4 * found['prompt_tokens'] + 12 * 4:06d}"
    phases = {each["phase"]: each for each in found["phases"]}
    assert list(phases) == ["queue", "prompt", "prefill", "decode", "settle"]
    assert phases["prefill"]["lasts_ms"] >= 45
    assert phases["decode"]["lasts_ms"] >= 8
    ends = [each["begins_ms"] + each["lasts_ms"] for each in found["phases"]]
    assert ends == pytest.approx([*(e["begins_ms"] for e in found["phases"][1:]), ends[-1]], abs=1)
    assert found["ttft_ms"] >= 45
    assert 20 < found["tokens_per_s"] < 400
    assert found["duration_ms"] >= ends[-1] - 1


def test_those_that_failed_and_those_that_are_asked_for(
    served: Served, admin: httpx.Client
) -> None:
    other = {"X-API-Key": served.new_key(owner="acme", name="test key of acme")}
    httpx.post(served.url + CHAT, json=ASK, headers={**other, "X-Request-Id": "acmes"})
    assert sent(served, "wrong", temperature=99) == 400
    assert sent(served, "unknown", model="none") == 404
    body = {"model": "embeds", "input": "a", "messages": None}
    assert sent(served, "vector", "/v1/embeddings", **body) == 200
    httpx.post(served.url + CHAT, json=ASK, headers={"X-Request-Id": "nobody"})
    last(admin, "nobody")

    def ids(**asked: Any) -> list[str]:
        found = admin.get("/requests", params=asked).json()["requests"]
        return [each["request_id"] for each in found]

    assert ids(limit=5) == ["nobody", "vector", "unknown", "wrong", "acmes"]
    assert ids(failed=True)[:3] == ["nobody", "unknown", "wrong"]
    assert ids(status="404") == ids(code="MODEL_NOT_FOUND") == ["unknown"]
    assert ids(status="4xx", owner="tests")[:2] == ["unknown", "wrong"]
    assert "unknown" not in ids(status="2xx")
    assert ids(end="ok", alias="embeds", status="200") == ["vector"]
    assert ids(end="lost") == ids(status="500") == ids(status="2xx", code="X") == []
    for asked in ({"status": "6xx"}, {"status": "20"}, {"end": "gone"}):
        assert admin.get("/requests", params=asked).status_code == 400
    assert ids(owner="acme") == ["acmes"]
    assert ids(alias="embeds") == ["vector"]
    [mine] = admin.get("/requests", params={"owner": "acme"}).json()["requests"]
    assert ids(key_id=mine["key_id"]) == ["acmes"]
    [acme] = [each for each in admin.get("/owners").json() if each["name"] == "acme"]
    assert ids(owner=acme["owner_id"]) == ["acmes"]
    assert ids(key_id="test key of acme") == ["acmes"]
    assert [e["phase"] for e in last(admin, "vector")["phases"]] == ["queue", "embed", "settle"]
    wrong = last(admin, "wrong")
    assert (wrong["code"], wrong["end"], wrong["phases"]) == ("INVALID_PARAMETER", None, [])
    assert (wrong["owner"], last(admin, "unknown")["owner"]) == ("tests", "tests")
    assert ids(owner="tests", failed=True)[:2] == ["unknown", "wrong"]
    nobody = last(admin, "nobody")
    assert (nobody["code"], nobody["owner"]) == ("AUTH_FAILED", None)
    assert not any(i.startswith("req_") for i in ids(limit=2000)), "operators' own are left out"


def test_they_come_a_part_at_a_time(served: Served, admin: httpx.Client) -> None:
    for number in range(3):
        sent(served, f"part-{number}")
        last(admin, f"part-{number}")
    for offset, wanted in ((0, ["part-2", "part-1"]), (2, ["part-0"])):
        found = admin.get("/requests", params={"limit": len(wanted), "offset": offset}).json()
        assert [each["request_id"] for each in found["requests"]] == wanted
    assert admin.get("/requests", params={"offset": 2000}).json() == {"requests": []}
    assert admin.get("/requests", params={"offset": -1}).status_code == 400


def test_one_that_is_not_among_them_is_404_and_a_wrong_limit_400(admin: httpx.Client) -> None:
    answer = admin.get("/requests/none")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "NOT_FOUND")
    for limit in (0, 2001, "x"):
        assert admin.get("/requests", params={"limit": limit}).status_code == 400


def test_only_an_operator_sees_them(served: Served) -> None:
    for headers, status in ((served.headers, 403), ({}, 401)):
        answer = httpx.get(f"{served.url}/admin/v1/requests", headers=headers)
        assert answer.status_code == status


def test_the_oldest_give_way_and_paths_are_of_bounded_length() -> None:
    recent = RecentRequests(most=10)
    for number in range(25):
        line = RequestLine(f"r{number}")
        recent.add({"path": "/v1/" + "x" * 9999, "method": "GET"}, line, 0.0)
    assert [each.request_id for each in recent.newest(99)] == [f"r{n}" for n in range(24, 14, -1)]
    assert recent.find("r3") is None
    assert len(recent.newest(1)[0].path) == 100
    recent.add({"path": "/metrics", "method": "GET"}, RequestLine("m"), 0.0)
    assert recent.find("m") is None


REGISTRY = """\
models:
  tiny:
    source: echo
    engine: scripted
    args: {first_token_delay_s: 0.05, token_delay_s: 0.01}
    context: 4K
    output: 1K
    preload: true
profiles:
  embedded: {}
"""


def test_at_a_terminal(tmp_path: Path) -> None:
    with serving_registry(tmp_path, REGISTRY) as server:
        port = server.port
        headers = {"X-API-Key": server.key(), "X-Request-Id": "shown"}
        url = f"http://127.0.0.1:{port}{CHAT}"
        assert httpx.post(url, json=ASK | {"model": "tiny"}, headers=headers).status_code == 200
        told = fjord(tmp_path, "requests", "--port", port)
        assert told.returncode == 0, told.stderr
        assert "shown" in told.stdout
        assert max(map(len, told.stdout.splitlines())) <= 80
        one = fjord(tmp_path, "requests", "shown", "--port", port)
        assert one.returncode == 0, one.stderr
        assert max(map(len, one.stdout.splitlines())) <= 80
        assert re.search(r"^prefill +█+ +\d+\.\d\d ms$", one.stdout, re.M)
        gone = fjord(tmp_path, "requests", "none", "--port", port)
        assert gone.returncode == 2
        assert "none of the last requests" in gone.stderr
