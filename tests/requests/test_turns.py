"""Requests of every kind before a gate that is full: their class, their wait, its trace and end."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from server.fairness.gate import Gate
from server.fairness.turn import FairTurn
from tests.support.batches import chat_line, is_over, lines_of, made_batch
from tests.support.collectors import collecting
from tests.support.serving import Served, read_records, scripted, serving, wait_until

MODELS = (
    scripted("m", seats=1, load="start"),
    scripted("e", task="embed", seats=1, load="start"),
    scripted("r", task="rerank", seats=1, load="start"),
)
SAID = {"messages": [{"role": "user", "content": "one two"}]}
ASKS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "interactive": ("m", "/v1/chat/completions", {**SAID, "stream": True}),
    "standard": ("m", "/v1/chat/completions", SAID),
    "responses": ("m", "/v1/responses", {"input": "one two", "store": False}),
    "embeddings": ("e", "/v1/embeddings", {"input": ["one two", "three"]}),
    "rerank": ("r", "/v1/rerank", {"query": "one", "documents": ["two", "three"]}),
}


@contextmanager
def served(tmp_path: Path, **settings: Any) -> Iterator[Served]:
    with serving(tmp_path, *MODELS, settings=settings) as server:
        wait_until(server.services.fleet.is_ready, "its engines are there")
        wait_until(lambda: len(server.engines) == len(MODELS), "all of them")
        yield server


@contextmanager
def held(server: Served, alias: str) -> Iterator[Gate]:
    """The alias' engine has no room in the block."""
    engine = next(e for e in server.engines if e.spec.source == alias)
    gate = server.services.gates.of(engine)
    turns = [FairTurn("other", "other", 100) for _ in range(2)]
    for turn in turns:
        gate.enter(turn, alias)
        assert turn.is_inside
    yield gate
    loop = gate._waiters and next(t.waiter for t in gate._waiters if t.waiter).get_loop()
    for turn in turns:
        if loop:
            loop.call_soon_threadsafe(gate.leave, turn, 100)
        else:
            gate.leave(turn, 100)


def ask(server: Served, kind: str, **headers: str) -> httpx.Response:
    alias, path, body = ASKS[kind]
    asked = {"model": alias, **body}
    return httpx.post(server.url + path, json=asked, headers=server.headers | headers, timeout=30)


@pytest.mark.parametrize("kind", ASKS)
def test_a_request_waits_until_its_deadline_and_hears_where(tmp_path: Path, kind: str) -> None:
    with served(tmp_path) as server:
        with held(server, ASKS[kind][0]):
            answer = ask(server, kind, **{"X-Request-Timeout": "0.5"})
        assert answer.status_code == 504
        error = answer.json()["error"]
        assert error["code"] == "REQUEST_TIMEOUT"
        assert error["details"] == {"position": 1, "owner_position": 1}
        assert ask(server, kind).status_code == 200
    late, well = read_records(tmp_path)
    assert (late["end"], late["amount"], well["end"]) == ("timed_out", 0, "ok")


@pytest.mark.parametrize("kind", ASKS)
def test_what_waits_is_counted_by_class_and_shows_in_its_trace(tmp_path: Path, kind: str) -> None:
    with collecting() as collector, served(tmp_path, otlp_endpoint=collector.url) as server:
        alias = ASKS[kind][0]
        with held(server, alias) as gate:
            answers = []
            thread = threading.Thread(target=lambda: answers.append(ask(server, kind)))
            thread.start()
            wait_until(lambda: gate._waiters, "it waits")
            said = httpx.get(server.url + "/metrics").text
        thread.join(30)
        assert answers[0].status_code == 200
        service_class = "interactive" if kind == "interactive" else "standard"
        line = f'fjord_requests_waiting{{alias="{alias}",class="{service_class}"}}'
        assert f"{line} 1.0" in said
        assert f"{line} 0.0" in httpx.get(server.url + "/metrics").text
        wait_until(lambda: any(s.name == "turn" for s in collector.spans()), "its trace")
        names = [span.name for span in collector.spans()]
        assert names.index("queue") < names.index("turn") < names.index("settle")


def test_a_batchs_line_waits_for_as_long_as_its_batch_may(tmp_path: Path) -> None:
    """Not its request's time alone: what only waited is asked again, and leaves nothing."""
    with (
        served(tmp_path, request_timeout_s=0.5) as server,
        httpx.Client(base_url=server.url, headers=server.headers, timeout=60) as client,
    ):
        with held(server, "m") as gate:
            batch = made_batch(client, [chat_line(1, "one")])
            wait_until(lambda: gate._waiters, "it waits")
            [first] = gate._waiters
            assert first.service_class == "batch"
            wait_until(lambda: gate._waiters and first not in gate._waiters, "it is asked again")
        done = is_over(client, batch["id"])
        assert done["request_counts"] == {"total": 1, "completed": 1, "failed": 0}
        [line] = lines_of(client, done["output_file_id"])
        assert line["response"]["status_code"] == 200
    assert [record["end"] for record in read_records(tmp_path)] == ["ok"]
