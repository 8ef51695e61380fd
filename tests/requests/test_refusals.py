"""What is refused: before anything is done for it, with one record, and no flood of those."""

import socket
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from server.accounts.rejections import MOST_A_MINUTE
from server.ledger.allowance import Budget
from server.ledger.records import KeyLimits
from tests.support.serving import Served, read_records, scripted, serving, wait_until

CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "go"}]}
PATHS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": CHAT,
    "/v1/completions": {"prompt": "go"},
    "/v1/responses": {"input": "go"},
    "/v1/embeddings": {"input": "go"},
}
STREAMED = [(path, stream) for path in PATHS for stream in (False, True) if "embed" not in path]
ALL = [*STREAMED, ("/v1/embeddings", False)]
NOTHING = Budget(kind="money", amount=0, period="total")


def body(path: str, stream: bool, **fields: Any) -> dict[str, Any]:
    model = "e" if "embed" in path else "m"
    return {"model": model, **PATHS[path], **({"stream": True} if stream else {}), **fields}


def counter(server: Served, name: str) -> float:
    text = httpx.get(server.url + "/metrics").text
    samples = [s for f in text_string_to_metric_families(text) for s in f.samples]
    return next(s.value for s in samples if s.name == name)


@pytest.mark.parametrize(("path", "stream"), ALL)
def test_a_spent_budget_is_refused_before_a_model_loads(
    tmp_path: Path, path: str, stream: bool
) -> None:
    models = scripted("m", load_s=30), scripted("e", load_s=30, task="embed")
    with serving(tmp_path, *models) as server:
        key = server.new_key(budget=NOTHING)
        began = time.monotonic()
        r = httpx.post(server.url + path, headers={"X-API-Key": key}, json=body(path, stream))
        assert time.monotonic() - began < 10
        assert (r.status_code, r.json()["error"]["code"]) == (402, "BUDGET_EXCEEDED")
        assert not server.engines
    (record,) = read_records(tmp_path)
    assert (record["end"], record["amount"]) == ("rejected", 0)


def test_what_costs_nothing_needs_no_budget(tmp_path: Path) -> None:
    with serving(tmp_path, scripted("m")) as server:
        key = server.new_key(budget=NOTHING)
        asked = {"model": "m", "prompt": "go"}
        r = httpx.post(server.url + "/v1/tokenize", headers={"X-API-Key": key}, json=asked)
        assert r.status_code == 200


def refusal(server: Served, path: str, status: int) -> httpx.Response:
    """A request that the server refuses with `status`."""
    headers, content, asked = dict(server.headers), None, body(path, False)
    if status == 413:
        content = b'"' + b"x" * 2000 + b'"'
    elif status == 415:
        content, headers["Content-Type"] = b"{}", "text/plain"
    elif status == 429:
        headers["X-API-Key"] = server.new_key(limits=KeyLimits(requests_per_minute=0, burst=0))
    elif status == 503:
        server.services.supervisor.draining = True
    send: dict[str, Any] = {"json": asked} if content is None else {"content": content}
    return httpx.post(server.url + path, headers=headers, **send)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("status", [413, 415, 429, 503])
def test_a_request_refused_before_its_body_is_read_has_its_record(
    tmp_path: Path, path: str, status: int
) -> None:
    models = scripted("m"), scripted("e", task="embed")
    with serving(tmp_path, *models, settings={"max_body_bytes": 1000}) as server:
        r = refusal(server, path, status)
        assert r.status_code == status
        request_id = r.headers["x-request-id"]
    (record,) = read_records(tmp_path)
    assert (record["record_id"], record["end"], record["amount"]) == (request_id, "rejected", 0)


def test_a_full_queue_leaves_a_record_too(tmp_path: Path) -> None:
    model = scripted("m", text="word " * 1000, token_delay_s=0.02)
    with serving(tmp_path, model, settings={"queue_limit": 1}) as server:
        path, url = "/v1/chat/completions", server.url + "/v1/chat/completions"
        with httpx.stream("POST", url, headers=server.headers, json=body(path, True)) as running:
            assert running.status_code == 200
            r = httpx.post(url, headers=server.headers, json=body(path, False))
            assert (r.status_code, r.json()["error"]["code"]) == (503, "OVERLOADED")
        wait_until(lambda: not server.services.supervisor.in_flight("m"), "it has ended")
    assert [r["end"] for r in read_records(tmp_path)] == ["client_left", "rejected"]


def test_a_flood_of_429s_is_a_number_and_no_flood_of_records(tmp_path: Path) -> None:
    more = 7
    with serving(tmp_path, scripted("m")) as server:
        key = server.new_key(limits=KeyLimits(requests_per_minute=0, burst=0))
        path = "/v1/chat/completions"
        with httpx.Client(base_url=server.url, headers={"X-API-Key": key}) as client:
            for _ in range(MOST_A_MINUTE + more):
                assert client.post(path, json=body(path, False)).status_code == 429
        assert counter(server, "fjord_unrecorded_rejections_total") == more
    assert len(read_records(tmp_path)) == MOST_A_MINUTE


def test_a_body_that_never_comes_whole_leaves_no_record(tmp_path: Path) -> None:
    with serving(tmp_path, scripted("m")) as server:
        host, port = server.url.removeprefix("http://").split(":")
        limiter = server.services.limiter
        with socket.create_connection((host, int(port))) as s:
            head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nX-API-Key: {server.key}\r\n"
            s.sendall(f"{head}Content-Length: 100\r\n\r\n{{".encode())
            wait_until(lambda: any(a.held for a in limiter.accounts.values()), "it has begun")
        wait_until(lambda: not any(a.held for a in limiter.accounts.values()), "it is over")
    assert read_records(tmp_path) == []


# Sequences


@pytest.mark.parametrize(
    ("path", "fields", "param"),
    [
        ("/v1/chat/completions", {"n": 3}, "n"),
        ("/v1/completions", {"n": 3}, "n"),
        ("/v1/completions", {"prompt": ["a", "b", "c"]}, "prompt"),
        ("/v1/completions", {"prompt": ["a", "b"], "n": 2}, "prompt"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_more_sequences_than_a_key_may_ever_have_are_a_400(
    tmp_path: Path, path: str, fields: dict[str, Any], param: str, stream: bool
) -> None:
    with serving(tmp_path, scripted("m")) as server:
        headers = {"X-API-Key": server.new_key(limits=KeyLimits(concurrent=2))}
        r = httpx.post(server.url + path, headers=headers, json=body(path, stream, **fields))
        assert (r.status_code, r.json()["error"]["param"]) == (400, param)
        assert r.json()["error"]["details"]["expected"] == "at most 2 sequences"
        fewer = body(path, stream) | {"n": 2}
        assert httpx.post(server.url + path, headers=headers, json=fewer).status_code == 200
    assert [r["end"] for r in read_records(tmp_path)] == ["rejected", "ok"]


@pytest.mark.parametrize("fields", [{"n": 3}, {"prompt": ["a", "b", "c"]}])
def test_sequences_hold_a_slot_each_until_they_end(tmp_path: Path, fields: dict[str, Any]) -> None:
    model = scripted("m", text="word " * 1000, token_delay_s=0.02)
    with serving(tmp_path, model) as server:
        headers = {"X-API-Key": server.new_key(limits=KeyLimits(concurrent=4))}
        path, url = "/v1/completions", server.url + "/v1/completions"
        asked = body(path, True, max_tokens=1000, **fields)
        with httpx.stream("POST", url, headers=headers, json=asked) as running:
            assert running.status_code == 200
            assert server.services.supervisor.in_flight("m") == 3
            two = httpx.post(url, headers=headers, json=body(path, False, n=2))
            assert two.json()["error"]["code"] == "CONCURRENCY_LIMIT_EXCEEDED"
            assert int(two.headers["retry-after"]) > 0
            names = [name for name, _ in two.headers.raw]
            assert len(names) == len(set(names))
            one = httpx.post(url, headers=headers, json=body(path, False, max_tokens=1))
            assert one.status_code == 200
        wait_until(lambda: not server.services.supervisor.in_flight("m"), "it has ended")
        assert httpx.post(url, headers=headers, json=body(path, False, n=4, max_tokens=1))
