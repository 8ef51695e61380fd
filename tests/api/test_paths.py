"""What every path does beside its own business: HEAD, slashes, the root, unknown names."""

import re
from collections.abc import Iterator

import httpx
import pytest

from server.api.operations import OPERATIONS
from tests.support.serving import Served, scripted, server_of

served = server_of(scripted("a"), scripted("b"), scripted("vectors", task="embed"))
KEPT = ("files", "batches", "kept_responses", "conversations")
PLAIN = [o for o in OPERATIONS if o.tag not in KEPT]  # of those a path has several
READ = [path.replace("{model}", "a") for o in PLAIN if o.method == "get" for path in o.paths]
ASKED = [path for o in PLAIN if o.method != "get" for path in o.paths]
NAMED = [path for o in PLAIN if o.body is not None for path in o.paths]
NAMING = {f"/api/{name}" for name in ("create", "copy", "push", "delete", "show", "pull")}
"""Their bodies are a model's name: a long one is refused by its size."""
LONG = "x" * 100_000


@pytest.fixture(scope="module")
def client(served: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.url, headers=served.headers, timeout=60) as made:
        yield made


@pytest.mark.parametrize("path", [*READ, "/docs", "/openapi.json"])
def test_head_is_get_without_its_body(client: httpx.Client, path: str) -> None:
    got, head = client.get(path), client.head(path)
    assert got.status_code == head.status_code == 200
    assert head.content == b""
    assert head.headers["content-type"] == got.headers["content-type"]
    if path != "/metrics":
        assert head.headers["content-length"] == got.headers["content-length"]
    assert client.get(path).status_code == 200  # the connection is in order


@pytest.mark.parametrize("path", [*READ, "/docs", "/openapi.json"])
def test_a_path_that_is_read_says_so(client: httpx.Client, path: str) -> None:
    answer = client.post(path, json={})
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize("path", ASKED)
def test_a_path_that_takes_a_body_knows_no_head(client: httpx.Client, path: str) -> None:
    answer = client.head(path)
    method = "DELETE" if path == "/api/delete" else "POST"
    assert (answer.status_code, answer.headers["allow"]) == (405, method)


@pytest.mark.parametrize("path", [p for p in [*READ, *ASKED, "/docs"] if p not in ("/",)])
def test_a_slash_more_is_another_path_and_leads_nowhere(client: httpx.Client, path: str) -> None:
    answer = client.get(path + "/", headers={"Host": "evil.example"})
    assert answer.status_code == 404
    assert "location" not in answer.headers


def test_no_name_is_no_model(client: httpx.Client) -> None:
    for path in ("/v1/models/", "/v1/llm/models/"):
        error = client.get(path).json()["error"]
        assert (error["code"], error["param"]) == ("NOT_FOUND", None)


def test_the_root_says_what_runs_here(client: httpx.Client, served: Served) -> None:
    for accept in ("*/*", "application/json"):
        answer = httpx.get(served.url, headers={"Accept": accept})
        assert answer.headers["content-type"] == "application/json"
        found = answer.json()
        assert found.pop("name") == "Fjord"
        assert found.pop("description")
        for path in found.values():
            answered = client.get(path, follow_redirects=True)  # the console leads to its door
            assert answered.status_code in (200, 405), path


def test_the_root_is_a_page_for_a_browser(client: httpx.Client, served: Served) -> None:
    browser = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
    answer = httpx.get(served.url, headers=browser)
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.headers["vary"] == "Accept"
    assert "//" not in re.sub(r"<!.*?>", "", answer.text)
    links = re.findall(r'<a href="([^"]+)"', answer.text)
    assert "docs" in links
    for link in links:
        assert client.get("/" + link, follow_redirects=True).status_code == 200, link


@pytest.mark.parametrize("path", [path for path in NAMED if path not in NAMING])
def test_an_unknown_name_is_answered_briefly_with_the_keys_own_models(
    served: Served, path: str
) -> None:
    key = served.new_key(models=frozenset({"b"}))
    said = [{"role": "user", "content": "x"}]
    body = {"messages": said, "prompt": "x", "input": "x", "max_tokens": 1}
    body |= {"query": "x", "documents": ["x"]}
    wanted = {n: body[n] for n in _needed(path)}
    headers = {"X-API-Key": key}
    for name in ("nobody", LONG, "\U0001f4a9" * 50_000):
        answer = httpx.post(served.url + path, json=wanted | {"model": name}, headers=headers)
        error = answer.json()["error"]
        assert answer.status_code == 404
        if path.startswith("/v1/messages"):
            error = error["message"]
        elif not path.startswith("/api/"):
            assert error["code"] == "MODEL_NOT_FOUND"
            error = error["message"]
        assert error.endswith("this key may use: b.")
        assert len(answer.content) < 2_000
    answer = httpx.get(f"{served.url}/v1/models/{'x' * 20_000}", headers=headers)
    assert answer.status_code == 404
    assert len(answer.content) < 2_000


def test_other_words_of_a_client_come_back_briefly_too(client: httpx.Client) -> None:
    chat = {"model": "a", "messages": [{"role": "user", "content": "x"}]}
    part = {"role": "user", "content": [{"type": LONG}]}
    function = {"type": "function", "function": {"name": LONG}}
    for answer in (
        client.post("/v1/chat/completions", json=chat | {"region": LONG}),
        client.post("/v1/chat/completions", json=chat | {"messages": [part]}),
        client.post("/v1/chat/completions", json=chat | {"logit_bias": {"1" * 100_000: 1000}}),
        client.post("/v1/chat/completions", json=chat | {"logit_bias": {LONG: 1}}),
        client.post("/v1/chat/completions", json=chat | {"tools": [function]}),
        client.post("/v1/chat/completions", json=chat | {"tool_choice": LONG}),
        client.post("/v1/chat/completions", json=chat | {"reasoning_effort": LONG}),
        client.post("/v1/chat/completions", json=chat | {"temperature": LONG}),
        client.post("/v1/responses", json={"model": "a", "input": [{"type": LONG}]}),
        client.post("/v1/embeddings", json={"model": "vectors", "input": "x", "user": [LONG]}),
        client.post("/v1/chat/completions", content=b"{}", headers={"Content-Type": LONG[:20_000]}),
        client.get("/" + LONG[:20_000]),
        client.get("/v1/" + LONG[:20_000]),
    ):
        assert answer.status_code in (400, 404, 415)
        assert len(answer.content) < 4_000


def test_a_model_for_something_else_names_the_keys_own_alternatives(served: Served) -> None:
    key = served.new_key(models=frozenset({"b", "vectors"}))
    chat = {"model": "vectors", "messages": [{"role": "user", "content": "x"}]}
    answer = httpx.post(served.url + "/v1/chat/completions", json=chat, headers={"X-API-Key": key})
    assert answer.json()["error"]["details"]["expected"] == "one of b"


def _needed(path: str) -> tuple[str, ...]:
    if path in ("/api/generate", "/api/embeddings"):
        return ("prompt",)
    if path in ("/api/show", "/api/pull"):
        return ()
    if path.endswith("/rerank"):
        return ("query", "documents")
    if path == "/v1/messages":
        return ("messages", "max_tokens")
    if path == "/v1/messages/count_tokens":
        return ("messages",)
    if "chat" in path:
        return ("messages",)
    return ("prompt",) if path.endswith(("/completions", "/tokenize")) else ("input",)
