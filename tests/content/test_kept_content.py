"""What is kept of requests, in each mode: by whom it was asked for, what it is, who may read it."""

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from server.accounts.auth import AuthFailed
from server.ledger.audit import newest
from server.ledger.key_store import KeyStore
from server.ledger.levels import kept_at
from server.memory.kept_requests import KeptRequest, KeptRequestStore
from tests.support.raw_http import connected, read_all, request
from tests.support.serving import Served, make_key, scripted, serving, wait_until

MARK = "a word that nobody else says"
CHAT = {"model": "mixtral-8x7b", "messages": [{"role": "user", "content": MARK}], "max_tokens": 4}


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path, scripted()) as found:
        yield found


def admin(served: Served) -> httpx.Client:
    """With a key that is made where there is none yet."""
    path = served.data_dir / "admin_key_of_the_test"
    if not path.exists():
        path.write_text(make_key(served.data_dir, name="root", service="admin"))
    text = path.read_text()
    wait_until(lambda: text in _admins(served, text), "the server takes the key")
    return httpx.Client(base_url=f"{served.url}/admin/v1", headers={"X-API-Key": text})


def _admins(served: Served, text: str) -> list[str]:
    try:
        served.services.ring.find(text, service="admin")
    except AuthFailed:
        return []
    return [text]


def set_to(served: Served, key: str, **content: Any) -> str:
    """The key's id; it is in effect."""
    with closing(served.services.ledger.open_books()) as books:
        key_id = next(k.key_id for k in KeyStore(books).list() if key.split("_")[2] == k.key_id)
    with admin(served) as operator:
        answer = operator.patch(f"/keys/{key_id}", json=content)
        assert answer.status_code == 200, answer.text
    kept = content["content"]
    wait_until(lambda: _mode(served, key_id) == (None if kept == "none" else kept), "it counts")
    return key_id


def _mode(served: Served, key_id: str) -> str | None:
    return kept_at(served.services.ring.current(key_id).content, time.time())


def ask(served: Served, path: str = "/v1/chat/completions", **body: Any) -> httpx.Response:
    answer = httpx.post(served.url + path, headers=served.headers, json=CHAT | body)
    assert answer.status_code == 200, answer.text
    return answer


def kept(served: Served, count: int) -> list[dict[str, Any]]:
    with admin(served) as operator:
        found: list[dict[str, Any]] = []

        def are_there() -> bool:
            found[:] = operator.get("/kept-requests").json()["requests"]
            return len(found) >= count

        wait_until(are_there, f"{count} requests are kept")
        assert len(found) == count
        return found


def content(served: Served, request_id: str) -> dict[str, Any]:
    with admin(served) as operator:
        answer = operator.get(f"/requests/{request_id}/content")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()["content"]
        return found


@pytest.mark.parametrize("stream", [False, True])
def test_full_is_what_went_over_the_wire(served: Served, stream: bool) -> None:
    key_id = set_to(served, served.key, content="full")
    answer = ask(served, stream=stream)
    assert answer.headers["x-content-kept"] == "full"
    [one] = kept(served, 1)
    assert (one["key_id"], one["mode"], one["status"]) == (key_id, "full", 200)
    found = content(served, answer.headers["x-request-id"])
    assert json.loads(found["body"]) == CHAT | {"stream": stream}
    assert found["answer"] == answer.text
    assert not found["body_is_cut"]
    with closing(served.services.ledger.open_books()) as books:
        read = newest(books, 5, action="content.read")
    assert [entry.target for entry in read] == [one["kept_id"]]


def test_of_metadata_no_word_is_kept(served: Served) -> None:
    set_to(served, served.key, content="metadata")
    answer = ask(
        served,
        temperature=0.5,
        tool_choice="auto",
        user=MARK,
        tools=[{"type": "function", "function": {"name": MARK.replace(" ", "_")}}],
        response_format={"type": "text"},
    )
    assert answer.headers["x-content-kept"] == "metadata"
    kept(served, 1)
    found = content(served, answer.headers["x-request-id"])
    assert set(found) == {"shape", "body_bytes", "answer_bytes"}
    shape = found["shape"]
    assert shape["messages"] == {"user": 1}
    assert shape["messages_characters"] == len(MARK)
    assert (shape["temperature"], shape["max_tokens"], shape["tools_count"]) == (0.5, 4, 1)
    assert (shape["tool_choice"], shape["response_format"]) == ("auto", "text")
    assert MARK.split()[1] not in json.dumps(found)


def test_nothing_is_kept_of_who_asked_for_nothing(served: Served) -> None:
    other = served.new_key(name="other")
    set_to(served, other, content="full")
    assert "x-content-kept" not in ask(served).headers
    httpx.post(f"{served.url}/v1/chat/completions", headers={"X-API-Key": other}, json=CHAT)
    [one] = kept(served, 1)
    assert one["key_id"] == other.split("_")[2]


def test_what_is_refused_is_kept_too(served: Served) -> None:
    set_to(served, served.key, content="full")
    body = CHAT | {"temperature": 9}
    answer = httpx.post(f"{served.url}/v1/chat/completions", headers=served.headers, json=body)
    assert answer.status_code == 400
    [one] = kept(served, 1)
    assert one["status"] == 400
    assert "temperature" in content(served, answer.headers["x-request-id"])["answer"]


def test_a_time_ends_it_by_itself(served: Served) -> None:
    until = time.time() + 2
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(until + 1))
    set_to(served, served.key, content="full", content_until=moment)
    assert ask(served).headers["x-content-kept"] == "full"
    wait_until(lambda: "x-content-kept" not in ask(served).headers, "its time is over")


def test_an_owner_may_be_set_for_an_hour_and_a_site_may_forbid(served: Served) -> None:
    hour = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
    week = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 7 * 86_400))
    with admin(served) as operator:
        for wrong in ({}, {"content_until": week}):
            answer = operator.patch("/owners/tests", json={"content": "full"} | wrong)
            assert answer.status_code == 400
            assert "at most a day away" in answer.text
        for wrong in (
            {"content_until": hour},
            {"content": "none", "content_until": "2001-01-01T00:00:00Z"},
        ):
            assert operator.patch("/owners/tests", json=wrong).status_code == 400
        body = {"content": "full", "content_until": hour}
        assert operator.patch("/owners/tests", json=body).status_code == 200
        wait_until(lambda: "x-content-kept" in ask(served).headers, "the owner's counts")
        assert operator.patch("/site", json={"content": "none"}).status_code == 200
        wait_until(lambda: "x-content-kept" not in ask(served).headers, "the site forbids")


def test_what_is_long_is_cut_and_says_so(served: Served) -> None:
    set_to(served, served.key, content="full")
    long = "x" * 1_200_000
    answer = httpx.post(
        f"{served.url}/v1/chat/completions",
        headers=served.headers,
        json=CHAT | {"messages": [{"role": "user", "content": long}]},
    )
    kept(served, 1)
    found = content(served, answer.headers["x-request-id"])
    assert found["body_is_cut"]
    assert len(found["body"]) == 2**20
    assert found["body_bytes"] > 1_200_000


def test_a_cut_within_a_character_leaves_text(served: Served) -> None:
    set_to(served, served.key, content="full")
    for shift in ("", "x"):
        text = shift + "å" * 600_000
        body_ = json.dumps(CHAT | {"prompt": text}, ensure_ascii=False).encode()
        httpx.post(f"{served.url}/v1/chat/completions", headers=served.headers, content=body_)
    for one in kept(served, 2):
        found = content(served, one["kept_id"])
        assert found["body_is_cut"]
        assert isinstance(found["body"], str)
        assert found["body"].endswith("åå")


@pytest.mark.parametrize("kind", ["multipart/form-data", "Multipart/Form-Data"])
def test_of_a_form_its_size_is_kept(served: Served, kind: str) -> None:
    set_to(served, served.key, content="full")
    part = '--x\r\nContent-Disposition: form-data; name="purpose"\r\n\r\n' + MARK + "\r\n--x--\r\n"
    headers = served.headers | {"content-type": kind + "; boundary=x"}
    httpx.post(f"{served.url}/v1/files", headers=headers, content=part)
    found = content(served, kept(served, 1)[0]["kept_id"])
    assert (found["body"], found["body_bytes"]) == ("", len(part))


def test_a_path_of_any_bytes_is_kept_as_text(served: Served) -> None:
    set_to(served, served.key, content="full")
    path = "/v1/responses/%00" + "x" * 5000 + "/cancel"
    assert httpx.post(served.url + path, headers=served.headers).status_code == 404
    [one] = kept(served, 1)
    assert one["path"].startswith("/v1/responses/\ufffdx")
    assert len(one["path"]) == 1000


def test_packed_bodies_are_read(served: Served) -> None:
    import gzip

    set_to(served, served.key, content="full")
    headers = served.headers | {"content-encoding": "gzip", "content-type": "application/json"}
    packed = gzip.compress(json.dumps(CHAT).encode())
    answer = httpx.post(f"{served.url}/v1/chat/completions", headers=headers, content=packed)
    kept(served, 1)
    assert json.loads(content(served, answer.headers["x-request-id"])["body"]) == CHAT


@pytest.mark.parametrize("mode", ["full", "metadata"])
def test_it_lies_sealed_and_goes_with_its_owner(served: Served, mode: str) -> None:
    set_to(served, served.key, content=mode)
    answer = ask(served)
    kept(served, 1)
    for file in served.data_dir.rglob("*"):
        if file.is_file():
            assert MARK.encode() not in file.read_bytes(), file
    with admin(served) as operator:
        assert operator.delete("/owners/tests/memory").status_code == 200
        gone = operator.get(f"/requests/{answer.headers['x-request-id']}/content")
        assert gone.status_code == 404
    assert kept(served, 0) == []


def test_what_waits_or_runs_as_its_owner_is_forgotten_is_not_kept_after_all(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_to(served, served.key, content="full")
    store, may_write = KeptRequestStore, threading.Event()
    keep = store.keep

    def slow(self: KeptRequestStore, one: KeptRequest) -> None:
        assert may_write.wait(30)
        keep(self, one)

    monkeypatch.setattr(store, "keep", slow)
    url = f"{served.url}/v1/chat/completions"
    with (
        httpx.stream("POST", url, headers=served.headers, json=CHAT | {"stream": True}) as running,
        ThreadPoolExecutor(1) as pool,
        admin(served) as operator,
    ):
        for _ in range(3):
            ask(served)
        forgetting = pool.submit(operator.delete, "/owners/tests/memory")
        recorder = served.services.recorder
        wait_until(lambda: "tests" in recorder._forgotten_at, "it is asked for")
        assert not forgetting.done(), "what is being written is destroyed too"
        may_write.set()
        assert forgetting.result().json()["destroyed"] == 1
        running.read()
        after = ask(served)
    [one] = kept(served, 1)
    assert one["request_id"] == after.headers["x-request-id"]


def test_a_full_owner_loses_content_and_no_request(tmp_path: Path) -> None:
    with serving(tmp_path, scripted(), settings={"memory_gb": 1e-7}) as served:
        set_to(served, served.key, content="full")
        assert ask(served).headers["x-content-kept"] == "full"
        metric = 'fjord_content_dropped_total{reason="full"} 1.0'
        wait_until(lambda: metric in httpx.get(f"{served.url}/metrics").text, "it is counted")
        assert kept(served, 0) == []


def test_without_a_memory_nothing_is_kept_and_nothing_is_said(tmp_path: Path) -> None:
    with serving(tmp_path, scripted(), settings={"response_store": "never"}) as served:
        set_to(served, served.key, content="full")
        assert "x-content-kept" not in ask(served).headers
        assert kept(served, 0) == []


def test_what_a_client_left_before_its_end_says_so(tmp_path: Path) -> None:
    slow = scripted(text=" ".join(["word"] * 300), token_delay_s=0.02)
    with serving(tmp_path, slow) as served:
        set_to(served, served.key, content="full")
        url = f"{served.url}/v1/chat/completions"
        body_ = CHAT | {"stream": True, "max_tokens": 300}
        with httpx.stream("POST", url, headers=served.headers, json=body_) as answer:
            next(answer.iter_lines())
        left = content(served, kept(served, 1)[0]["kept_id"])
        assert (left["body_is_cut"], left["answer_is_cut"]) == (False, True)
        assert "[DONE]" not in left["answer"]
        with connected(served) as client:
            client.sendall(request(served, "Content-Length: 500") + b'{"model": "half')
        both = [content(served, row["kept_id"]) for row in kept(served, 2)]
        [half] = [each for each in both if each["body_bytes"] == 15]
        assert (half["body"], half["body_is_cut"], half["body_bytes"]) == (
            '{"model": "half',
            True,
            15,
        )
        whole = ask(served, max_tokens=2, stream=True)
        told = content(served, whole.headers["x-request-id"])
        assert (told["body_is_cut"], told["answer_is_cut"]) == (False, False)


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_stream_is_framed_as_it_is_without_a_copy(served: Served, version: str) -> None:
    content_ = json.dumps(CHAT | {"stream": True}).encode()
    lines = (f"Content-Length: {len(content_)}", "Connection: close")
    heads, bodies = [], []
    for mode in ("none", "full"):
        set_to(served, served.key, content=mode)
        with connected(served) as client:
            client.sendall(request(served, *lines, version=version) + content_)
            head, _, body = read_all(client).partition(b"\r\n\r\n")
        heads.append(b"transfer-encoding" in head)
        bodies.append(body)
    assert heads == [version == "1.1"] * 2
    assert [body.endswith(b"data: [DONE]\n\n") for body in bodies] == [version == "1.0"] * 2
    [one] = kept(served, 1)
    told = content(served, one["kept_id"])
    assert told["answer"].endswith("data: [DONE]\n\n")
    assert told["answer_type"].startswith("text/event-stream")
    if version == "1.0":
        assert told["answer"].encode() == bodies[1]


def test_requests_of_one_id_are_two(served: Served) -> None:
    set_to(served, served.key, content="full")
    for text in ("first", "second"):
        headers = served.headers | {"X-Request-Id": "same"}
        body = CHAT | {"messages": [{"role": "user", "content": text}]}
        httpx.post(f"{served.url}/v1/chat/completions", headers=headers, json=body)
    found = kept(served, 2)
    bodies = {content(served, one["kept_id"])["body"] for one in found}
    assert len(bodies) == 2


@pytest.mark.parametrize("path", ["/v1/embeddings", "/v1/completions", "/v1/messages", "/api/chat"])
def test_every_way_in_is_kept(served: Served, path: str) -> None:
    set_to(served, served.key, content="full")
    body = CHAT | {"prompt": MARK, "input": MARK}
    answer = httpx.post(served.url + path, headers=served.headers, json=body)
    assert answer.headers["x-content-kept"] == "full"
    [one] = kept(served, 1)
    assert one["path"] == path
    assert MARK in content(served, one["kept_id"])["body"]


def test_a_list_page_by_page_has_each_once_also_of_one_second(served: Served) -> None:
    store = served.services.memory.requests if served.services.memory else None
    assert store is not None
    made = {f"kept_{number}": 1000 + number // 5 for number in range(12)}
    for kept_id, at in made.items():
        facts: dict[str, Any] = {"kept_id": kept_id, "request_id": "r", "owner": "tests", "at": at}
        store.keep(KeptRequest(**facts, key_id="k", mode="full", path="/", status=200))
    seen: list[str] = []
    where: dict[str, Any] = {}
    with admin(served) as operator:
        while found := operator.get("/kept-requests", params={"limit": 2, **where}).json():
            if not found["requests"]:
                break
            seen += [one["kept_id"] for one in found["requests"]]
            last = found["requests"][-1]
            where = {"before": last["at"], "behind": last["kept_id"]}
        assert sorted(seen) == sorted(made)
        before = {"before": 1001}
        older = operator.get("/kept-requests", params=before).json()["requests"]
    assert {one["at"] for one in older} == {1000}
