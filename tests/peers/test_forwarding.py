"""A front without the model asks a node that has it: answers, bills and errors are the same."""

import asyncio
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from engines.base import EngineUnavailable
from server.ledger.meta import remember
from server.peers.client import PeerClient
from server.peers.directory import Directory
from server.peers.engine import PeerEngine
from server.peers.wire import PROTOCOL
from tests.support.peers import PeerSite, peer_site
from tests.support.serving import read_records, scripted, wait_until
from tests.support.sites import new_site, postgres_server

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
HUGE = {"enum": [2**64, -(2**63) - 1]}
NESTED: dict[str, Any] = {}
for _ in range(200):
    NESTED = {"a": NESTED}
MODELS = (
    scripted("full", overload_above=0),
    scripted("one", seats=1, text="a " * 75, token_delay_s=0.02),
    scripted("free", free_chat_template_kwargs=True),
    scripted("m", text="one two three four", calls_tools=True),
    scripted("thinks", text="so it is", reasoning_text="let me see"),
    scripted("small", context_tokens=64, output_tokens=32),
    scripted("slow", text="a " * 4000, token_delay_s=0.01),
    scripted("vectors", task="embed"),
    scripted("ranks", task="rerank"),
)


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    with postgres_server() as running:
        yield running


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, server: Any) -> Iterator[PeerSite]:
    with peer_site(tmp_path_factory.mktemp("site"), new_site(server), *MODELS) as found:
        yield found


def without_ids(answer: dict[str, Any]) -> dict[str, Any]:
    kept = {k: v for k, v in answer.items() if k not in ("id", "created")}
    found: dict[str, Any] = json.loads(json.dumps(kept).replace(answer.get("id", "-"), ""))
    return found


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"n": 3},
        {"logprobs": True, "top_logprobs": 2},
        {"max_tokens": 2},
        {"stop": ["three"]},
        {"tools": [TOOL]},
        {"model": "thinks"},
        {"response_format": {"type": "json_object"}},
        {"text": "x" * 300_000},
        {"model": "small", "max_tokens": 40},
        {"model": "small", "text": "y " * 100},
        {"model": "nobody"},
        {"model": "full"},
        {"model": "free", "chat_template_kwargs": {"a": 10**40}},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": HUGE}}},
        {"model": "free", "chat_template_kwargs": {"a": NESTED}},
        {"temperature": 3},
    ],
)
def test_an_answer_is_the_same(site: PeerSite, more: dict[str, Any]) -> None:
    here, there = site.chat(**more), site.chat(number=1, **more)
    assert here.status_code == there.status_code
    assert _told(here) == _told(there)


def _told(answer: httpx.Response) -> Any:
    found = answer.json()
    found.get("error", {}).pop("request_id", None)
    return without_ids(found)


@pytest.mark.parametrize("more", [{}, {"n": 2}, {"tools": [TOOL]}, {"model": "thinks"}])
def test_a_stream_is_the_same(site: PeerSite, more: dict[str, Any]) -> None:
    body = {"stream": True, "stream_options": {"include_usage": True}, **more}
    here, there = _events(site.chat(**body)), _events(site.chat(number=1, **body))
    assert here == there
    assert here[-1] == "[DONE]"


def _events(answer: httpx.Response) -> list[Any]:
    lines = [line[6:] for line in answer.text.splitlines() if line.startswith("data: ")]
    return [line if line == "[DONE]" else without_ids(json.loads(line)) for line in lines]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/embeddings", {"model": "vectors", "input": ["one", "two three"]}),
        ("/v1/rerank", {"model": "ranks", "query": "q", "documents": ["one", "two q"]}),
        ("/v1/rerank", {"model": "ranks", "query": "q" * 18_000, "documents": ["d"] * 1000}),
        ("/v1/score", {"model": "ranks", "text_1": "q" * 18_000, "text_2": ["d"] * 1000}),
        ("/v1/completions", {"model": "m", "prompt": ["a b", "c"], "max_tokens": 3}),
        ("/v1/completions", {"model": "m", "prompt": [1, 2, 3], "max_tokens": 3}),
        ("/v1/tokenize", {"model": "m", "prompt": "one two three"}),
        (
            "/v1/messages",
            {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]},
        ),
    ],
)
def test_other_endpoints_are_the_same(site: PeerSite, path: str, body: dict[str, Any]) -> None:
    here, there = site.post(path, **body), site.post(path, 1, **body)
    assert (here.status_code, there.status_code) == (200, 200)
    assert _rounded(without_ids(here.json())) == _rounded(without_ids(there.json()))


def _rounded(found: Any) -> Any:
    """Vectors are float32."""
    return json.loads(json.dumps(found), parse_float=lambda text: round(float(text), 6))


def test_it_is_billed_once_where_it_was_asked(site: PeerSite) -> None:
    answer = site.chat("w " * 7)
    usage, name = answer.json()["usage"], answer.headers["x-request-id"]
    front, node = (read_records(server.data_dir) for server in site.nodes)
    [record] = [each for each in front if each["record_id"] == name]
    assert record["completion_tokens"] == usage["completion_tokens"] == 5
    assert record["prompt_tokens"] == usage["prompt_tokens"]
    assert record["amount"] == 4 * record["prompt_tokens"] + 12 * 5
    assert not [each for each in node if name in each["record_id"]]


def test_a_client_that_leaves_ends_it_on_the_node(site: PeerSite) -> None:
    supervisor = site.nodes[1].services.supervisor
    body = {"model": "slow", "messages": [{"role": "user", "content": "hi"}], "stream": True}
    with httpx.stream(
        "POST",
        f"{site.nodes[0].url}/v1/chat/completions",
        json=body,
        headers={"X-API-Key": site.key},
    ) as answer:
        next(answer.iter_lines())
        assert len(supervisor) == 1
    wait_until(lambda: len(supervisor) == 0, "the node ends it", timeout_s=5)


def test_the_nodes_own_patience_with_its_clients_is_not_the_fronts(
    site: PeerSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = site.nodes[1].services
    hasty = node.settings.model_copy(update={"request_timeout_s": 0.0})
    monkeypatch.setattr(node, "settings", hasty)
    monkeypatch.setattr("server.api.peer.answer.STUCK_S", 0.0)
    answer = site.chat(model="slow", max_tokens=100)
    assert answer.status_code == 200
    assert answer.json()["usage"]["completion_tokens"] == 100


@pytest.mark.parametrize(
    ("headers", "status"),
    [({}, 401), ({"authorization": "Bearer nonsense"}, 401), ({"authorization": "x" * 9000}, 401)],
)
def test_strangers_are_refused(site: PeerSite, headers: dict[str, str], status: int) -> None:
    for what in ("pulse", "open", "channel", "embed", "score"):
        url = f"{site.nodes[1].url}/peer/v1/{what}"
        assert httpx.post(url, headers=headers).status_code == status


@pytest.mark.parametrize("number", [0, 1])
def test_who_waits_for_a_turn_is_told_its_place(
    site: PeerSite, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    here, node = site.nodes[number].services, site.nodes[1].services
    chatty = here.settings.model_copy(update={"keep_alive_s": 0.1})
    monkeypatch.setattr(here, "settings", chatty)
    with ThreadPoolExecutor(3) as pool:
        pool.submit(site.chat, model="one", number=1)
        wait_until(lambda: node.supervisor.in_flight("one") == 1, "its seat is taken")
        pool.submit(site.chat, model="one", number=1)
        wait_until(lambda: node.supervisor.in_flight("one") == 2, "its margin is taken")
        first = pool.submit(site.chat, model="one", number=number, stream=True)
        wait_until(lambda: node.supervisor.in_flight("one") == 3, "one waits")
        body = {"model": "one", "messages": [{"role": "user", "content": "hi"}]}
        late = httpx.post(
            f"{site.nodes[number].url}/v1/chat/completions",
            json=body,
            headers={"X-API-Key": site.key, "X-Request-Timeout": "1"},
        )
        assert late.status_code == 504
        assert late.json()["error"]["details"] == {"position": 2, "owner_position": 2}
        assert ": waiting position=1 owner_position=1\n" in first.result(20).text


def test_the_sites_password_is_changed_and_nothing_is_cut(
    site: PeerSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.peers.directory.LOOK_AGAIN_S", 0.0)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(site.chat, model="slow", max_tokens=150)
        wait_until(lambda: len(site.nodes[1].services.supervisor) == 1, "it generates")
        with site.books() as books, books.writing("meta"):
            remember(books, "peer_password", "another")
        strangers = {"authorization": "Bearer stranger"}
        url = f"{site.nodes[1].url}/peer/v1/pulse"
        assert httpx.post(url, headers=strangers).status_code == 401
        known = {"authorization": "Bearer another", "x-fjord-peer": str(PROTOCOL)}
        assert httpx.post(url, headers=known).status_code == 200
        answer = site.post("/v1/embeddings", model="vectors", input="hi")
        assert answer.status_code == 200
        assert running.result(20).status_code == 200
    assert [status.restarts for status in site.nodes[0].services.fleet.statuses()] == [0] * len(
        site.nodes[0].services.fleet.statuses()
    )


def test_what_is_not_here_is_not_asked_of_a_third(site: PeerSite) -> None:
    async def ask() -> None:
        directory = Directory(site.nodes[1].services.ledger.open_books)
        engine = PeerEngine("m", PeerClient("front-1", directory))
        try:
            with pytest.raises(EngineUnavailable, match="does not run m itself"):
                await engine.start()
        finally:
            await engine.stop()

    asyncio.run(ask())
