"""/v1/conversations: items in their order, which responses read and add to."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.support.responses import ASK, MODELS
from tests.support.serving import Served, server_of
from tests.support.wire_checks import assert_error

URL, RESPONSES = "/v1/conversations", "/v1/responses"
served = server_of(*MODELS)


@pytest.fixture
def client(served: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.url, headers=served.headers, timeout=60) as made:
        yield made


def ok(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def texts(client: httpx.Client, conversation: dict[str, Any]) -> list[str]:
    query: dict[str, Any] = {"order": "asc", "limit": 100}
    page = ok(client.get(f"{URL}/{conversation['id']}/items", params=query))
    return [item["content"][0]["text"] for item in page["data"]]


def message(text: str, role: str = "user") -> dict[str, Any]:
    return {"type": "message", "role": role, "content": text}


def test_made_told_changed_and_deleted(client: httpx.Client) -> None:
    metadata = {"a": "b", "huge": 10**40}
    made = ok(client.post(URL, json={"items": [message("hei")], "metadata": metadata}))
    assert made["id"].startswith("conv_")
    assert (made["object"], made["metadata"]) == ("conversation", metadata)
    url = f"{URL}/{made['id']}"
    assert ok(client.get(url)) == made
    changed = ok(client.post(url, json={"metadata": {"c": "d"}}))
    assert changed == made | {"metadata": {"c": "d"}} == ok(client.get(url))
    gone = ok(client.delete(url))
    assert gone == {"id": made["id"], "object": "conversation.deleted", "deleted": True}
    for answer in (client.get(url), client.delete(url), client.get(f"{url}/items")):
        assert_error(answer, 404, "NOT_FOUND", None)


def test_items_are_added_listed_told_and_deleted(client: httpx.Client) -> None:
    made = ok(client.post(URL, json={}))
    url = f"{URL}/{made['id']}/items"
    added = ok(client.post(url, json={"items": [message("a"), message("b", "assistant")]}))
    assert [i["content"][0]["type"] for i in added["data"]] == ["input_text", "output_text"]
    ok(client.post(url, json={"items": [message("c")]}))
    assert texts(client, made) == ["a", "b", "c"]
    newest = ok(client.get(url, params={"limit": 1}))
    assert (newest["data"][0]["content"][0]["text"], newest["has_more"]) == ("c", True)
    older = ok(client.get(url, params={"after": newest["last_id"]}))
    assert [i["content"][0]["text"] for i in older["data"]] == ["b", "a"]
    one = added["data"][0]
    assert ok(client.get(f"{url}/{one['id']}")) == one
    assert ok(client.delete(f"{url}/{one['id']}")) == made
    assert client.get(f"{url}/{one['id']}").status_code == 404
    assert texts(client, made) == ["b", "c"]


@pytest.mark.parametrize("is_stream", [False, True])
def test_a_response_reads_it_and_adds_to_it(client: httpx.Client, is_stream: bool) -> None:
    made = ok(client.post(URL, json={"items": [message("one two")]}))
    for given, named in (("three", made["id"]), ("four", {"id": made["id"]})):
        body = ASK | {"input": given, "conversation": named, "stream": is_stream}
        assert client.post(RESPONSES, json=body).status_code == 200
    assert texts(client, made) == ["one two", "three", "three", "four", "four"]
    last = ok(client.post(RESPONSES, json=ASK | {"input": "five", "conversation": made["id"]}))
    assert last["conversation"] == {"id": made["id"]}
    sent = [message(t, r) for t, r in zip(
        ["one two", "three", "three", "four", "four", "five"],
        ["user", "user", "assistant", "user", "assistant", "user"],
        strict=True,
    )]  # fmt: skip
    whole = ok(client.post(RESPONSES, json=ASK | {"input": sent, "store": False}))
    assert last["usage"]["input_tokens"] == whole["usage"]["input_tokens"]


def test_of_two_at_once_each_adds_its_turn_in_one_piece(client: httpx.Client) -> None:
    made = ok(client.post(URL, json={}))

    def ask(number: int) -> int:
        body = ASK | {"input": f"w{number}", "conversation": made["id"]}
        return client.post(RESPONSES, json=body).status_code

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(ask, range(16))) == {200}
    said = texts(client, made)
    assert len(said) == 32
    assert all(said[i] == said[i + 1] for i in range(0, 32, 2))  # the model repeats its input


def test_a_refused_response_adds_nothing(client: httpx.Client) -> None:
    made = ok(client.post(URL, json={}))
    body = ASK | {"conversation": made["id"], "temperature": 9}
    assert client.post(RESPONSES, json=body).status_code == 400
    assert texts(client, made) == []


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("", {"items": [message("x")] * 21}, "items"),
        ("", {"items": [{"type": "mcp_call"}]}, "items[0].type"),
        ("", {"items": [{"role": "user"}]}, "items[0].content"),
        ("", {"metadata": {str(i): "x" for i in range(65)}}, "metadata"),
        ("", {"metadata": {"a": "x" * 10_000}}, "metadata"),
        ("/{}", {}, "metadata"),
        ("/{}/items", {"items": []}, "items"),
        ("/{}/items", {}, "items"),
        ("/{}/items", {"items": [message("x")] * 21}, "items"),
    ],
)
def test_what_cannot_be_kept_is_refused_by_name(
    client: httpx.Client, path: str, body: dict[str, Any], field: str
) -> None:
    made = ok(client.post(URL, json={}))
    answer = client.post(URL + path.format(made["id"]), json=body)
    assert_error(answer, 400, "INVALID_PARAMETER", field)
    assert texts(client, made) == []
