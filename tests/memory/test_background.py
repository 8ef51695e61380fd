"""Responses in the background: their states, cancelling, queueing, metering; kills and drains."""

import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from server.ledger.records import KeyLimits
from server.memory.database import FILE_NAME
from tests.support.responses import events
from tests.support.serve_process import Server, serving_registry
from tests.support.serving import Served, read_records, scripted, server_of, serving, wait_until

URL = "/v1/responses"
SLOW = scripted("slow", text="a " * 3000, token_delay_s=0.01)
served = server_of(
    SLOW,
    scripted("m"),
    scripted("dies", text="word " * 50, die_after_tokens=3, token_delay_s=0.001),
    settings={"background_open": 6},
)
REGISTRY = """\
models:
  tiny:
    source: echo
    engine: scripted
    args: {text: "TEXT", token_delay_s: 0.01}
    context: 8K
    output: 4K
    preload: true
profiles:
  embedded: {}
""".replace("TEXT", "a " * 3000)
OVER = ("completed", "failed", "cancelled", "incomplete")


@pytest.fixture
def client(served: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.url, headers=served.headers, timeout=60) as made:
        yield made


def begun(client: httpx.Client, **more: Any) -> dict[str, Any]:
    answer = client.post(URL, json={"model": "m", "input": "Hi you", "background": True} | more)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def now(client: httpx.Client, response: dict[str, Any]) -> dict[str, Any]:
    answer = client.get(f"{URL}/{response['id']}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def at_its_end(client: httpx.Client, response: dict[str, Any]) -> dict[str, Any]:
    wait_until(lambda: now(client, response)["status"] in OVER, "the response ends")
    return now(client, response)


def is_running(client: httpx.Client, response: dict[str, Any]) -> None:
    wait_until(lambda: now(client, response)["status"] == "in_progress", "it runs")


def cancelled(client: httpx.Client, response: dict[str, Any]) -> dict[str, Any]:
    answer = client.post(f"{URL}/{response['id']}/cancel")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_it_is_queued_runs_and_is_complete(client: httpx.Client, served: Served) -> None:
    before = len(read_records(served.data_dir))
    response = begun(client)
    assert (response["status"], response["background"], response["output"]) == ("queued", True, [])
    done = at_its_end(client, response)
    assert done["status"] == "completed"
    assert done["output"][0]["content"][0]["text"] == "Hi you"
    [record] = read_records(served.data_dir)[before:]
    assert (record["end"], record["endpoint"]) == ("ok", "responses")
    assert record["completion_tokens"] == done["usage"]["output_tokens"]
    onward = client.post(
        URL, json={"model": "m", "input": "x", "previous_response_id": done["id"]}
    ).json()
    assert onward["usage"]["input_tokens"] > done["usage"]["input_tokens"]


def test_its_stream_outlives_its_client_and_comes_again(client: httpx.Client) -> None:
    body = {"model": "slow", "input": "x", "background": True, "stream": True}
    with client.stream("POST", URL, json=body | {"max_output_tokens": 150}) as answer:
        beginning = b""
        for piece in answer.iter_raw():
            beginning += piece
            if beginning.count(b"\n\n") > 6:
                break
    first = events_of(beginning)
    assert [e["type"] for e in first[:3]] == [
        "response.created",
        "response.queued",
        "response.in_progress",
    ]
    response = first[0]["response"]
    url = f"{URL}/{response['id']}"
    last = first[-1]["sequence_number"]
    query = {"stream": "true", "starting_after": last}
    rest = client.get(url, params=query)  # while it runs
    done = at_its_end(client, response)
    assert done["status"] == "incomplete"
    whole = client.get(url, params={"stream": "true"})
    said = beginning[: beginning.rfind(b"\n\n") + 2] + rest.content
    assert whole.content == said
    assert events(whole)[-1]["response"] == done
    query = {"stream": "true", "starting_after": last}
    assert client.get(url, params=query).content == rest.content


def events_of(said: bytes) -> list[dict[str, Any]]:
    whole = said[: said.rfind(b"\n\n") + 2]
    return events(httpx.Response(200, content=whole, headers={"content-type": "text/event-stream"}))


def test_cancelled_is_billed_for_what_it_made(client: httpx.Client, served: Served) -> None:
    engine = next(e for e in served.engines if e.spec.source == "slow")
    made = engine.generated_tokens
    response = begun(client, model="slow")
    is_running(client, response)
    wait_until(lambda: engine.generated_tokens > made + 5, "it generates")
    told = cancelled(client, response)
    assert told["status"] == "cancelled"
    assert now(client, response) == told
    assert cancelled(client, response) == told  # a second time nothing changes
    record = read_records(served.data_dir)[-1]
    assert record["end"] == "client_left"
    assert record["completion_tokens"] == engine.generated_tokens - made > 0
    assert record["amount"] > 0
    stream = client.get(f"{URL}/{response['id']}", params={"stream": "true"})
    assert events(stream)[-1]["type"] == "response.output_text.delta"


def test_one_that_is_complete_is_not_cancelled(client: httpx.Client) -> None:
    done = at_its_end(client, begun(client))
    assert cancelled(client, done) == done


def test_a_deleted_one_is_cut(client: httpx.Client, served: Served) -> None:
    response = begun(client, model="slow")
    is_running(client, response)
    assert client.delete(f"{URL}/{response['id']}").status_code == 200
    assert client.get(f"{URL}/{response['id']}").status_code == 404
    assert read_records(served.data_dir)[-1]["end"] == "client_left"


def test_one_that_breaks_has_failed(client: httpx.Client) -> None:
    done = at_its_end(client, begun(client, model="dies"))
    assert done["status"] == "failed"
    assert done["error"]["code"] == "server_error"
    last = events(client.get(f"{URL}/{done['id']}", params={"stream": "true"}))[-1]
    assert (last["type"], last["response"]) == ("response.failed", done)


def test_what_its_engine_refuses_has_failed(client: httpx.Client) -> None:
    done = at_its_end(client, begun(client, input="word " * 40_000))
    assert done["status"] == "failed"
    assert "context" in done["error"]["message"]


def test_an_owner_has_so_many_and_a_key_runs_so_many(served: Served) -> None:
    headers = {"X-API-Key": served.new_key(owner="crowd", limits=KeyLimits(concurrent=2))}
    with httpx.Client(base_url=served.url, headers=headers, timeout=60) as client:
        body = {"model": "slow", "input": "x", "background": True}
        answers = [client.post(URL, json=body) for _ in range(8)]
        begun_ones = [a.json() for a in answers if a.status_code == 200]
        assert len(begun_ones) == 6
        refused = [a for a in answers if a.status_code != 200]
        assert {a.status_code for a in refused} == {429}
        assert all("retry-after" in a.headers for a in refused)
        statuses = [now(client, r)["status"] for r in begun_ones]
        for response in begun_ones:
            cancelled(client, response)
        assert statuses.count("in_progress") <= 2
        assert {now(client, r)["status"] for r in begun_ones} == {"cancelled"}
        assert begun(client)["status"] == "queued"  # there is room again


def test_its_tokens_count_for_its_key(served: Served) -> None:
    key = served.new_key(owner="few", limits=KeyLimits(tokens_per_minute=3))
    other = served.new_key(owner="few")
    with (
        httpx.Client(base_url=served.url, headers={"X-API-Key": key}, timeout=60) as client,
        httpx.Client(base_url=served.url, headers={"X-API-Key": other}, timeout=60) as looks,
    ):
        at_its_end(looks, begun(client))
        answer = client.post(URL, json={"model": "m", "input": "x"})
        assert answer.status_code == 429


def test_a_drain_ends_what_runs_and_what_waits(tmp_path: Path) -> None:
    options = {"drain_timeout_s": 0.2, "concurrent": 1}
    with serving(tmp_path, SLOW, settings=options) as served, reaching(served) as client:
        running = begun(client, model="slow")
        is_running(client, running)
        waiting = begun(client, model="slow")
    with serving(tmp_path, SLOW) as served, reaching(served) as client:
        for response in (running, waiting):
            done = now(client, response)
            assert done["status"] == "failed"
            assert "shutting down" in done["error"]["message"]
    assert [r["end"] for r in read_records(tmp_path)] == ["shut_down"]


@pytest.mark.slow
def test_a_killed_server_leaves_none_in_progress(tmp_path: Path) -> None:
    """One record, and the response has failed: to be seen as soon as the server is there again."""
    with serving_registry(tmp_path, REGISTRY) as server:
        with client_of(server) as client:
            response = begun(client, model="tiny")
            is_running(client, response)
            url = f"{URL}/{response['id']}"
            wait_until(lambda: kept_parts(tmp_path / "data") > 2, "events are kept")
        server.process.send_signal(signal.SIGKILL)
        server.process.wait(30)
    began = time.monotonic()
    with serving_registry(tmp_path, REGISTRY) as server, client_of(server) as client:
        done = at_its_end(client, response)
        assert time.monotonic() - began < 60
        assert done["status"] == "failed"
        assert "stopped before its end" in done["error"]["message"]
        told = events(client.get(url, params={"stream": "true"}))
        assert told[-1]["response"] == done
        assert len(told) > 20
        records = [r for r in read_records(tmp_path / "data") if r["endpoint"] == "responses"]
        assert [r["end"] for r in records] == ["lost"]
        assert records[0]["completion_tokens"] > 0


def reaching(served: Served) -> httpx.Client:
    return httpx.Client(base_url=served.url, headers=served.headers, timeout=60)


def client_of(server: Server) -> httpx.Client:
    url = f"http://127.0.0.1:{server.port}"
    return httpx.Client(base_url=url, headers={"X-API-Key": server.key()}, timeout=60)


def kept_parts(data_dir: Path) -> int:
    with closing(sqlite3.connect(data_dir / FILE_NAME)) as connection:
        found: int = connection.execute("SELECT count(*) FROM memory_events").fetchone()[0]
    return found
