"""Nothing hangs: full queues, deadlines, clients that stall, engines that die, drains."""

import asyncio
import json
import socket
import threading
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx
import pytest

from engines.base import Engine
from engines.registry.spec import EngineSpec
from engines.testing.scripted import ScriptedEngine
from server.requests.supervisor import Supervisor
from tests.support.fragile import Fragile
from tests.support.serving import Served, read_records, scripted, serving, wait_until

ASK: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "go"}]}
LONG = "word " * 5000


def post(server: Served, **fields: Any) -> httpx.Response:
    url = server.url + "/v1/chat/completions"
    headers = fields.pop("headers", {})
    return httpx.post(url, headers=server.headers | headers, json=ASK | fields, timeout=30)


def open_stream(server: Served, **fields: Any) -> socket.socket:
    """A raw client that has sent a streaming request and reads nothing yet."""
    body = json.dumps(ASK | {"stream": True} | fields).encode()
    host, port = server.url.removeprefix("http://").split(":")
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    s.connect((host, int(port)))
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nX-API-Key: {server.key}\r\n"
    s.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    return s


def running(server: Served) -> int:
    return len(server.services.supervisor)


@pytest.mark.alone
def test_beyond_the_queue_limit_the_answer_is_503_at_once(tmp_path: Path) -> None:
    model = scripted("m", text=LONG, token_delay_s=0.01)
    with serving(tmp_path, model, settings={"queue_limit": 2}) as server:
        streams = [open_stream(server) for _ in range(2)]
        wait_until(lambda: running(server) == 2, "two requests run")
        with httpx.Client(base_url=server.url, headers=server.headers) as client:
            client.get("/v1/models")  # the connection stands
            began = time.monotonic()
            r = client.post("/v1/chat/completions", json=ASK)
            assert time.monotonic() - began < 0.5
        assert r.status_code == 503
        assert r.json()["error"]["code"] == "OVERLOADED"
        assert int(r.headers["retry-after"]) >= 1
        for s in streams:
            s.close()
        wait_until(lambda: running(server) == 0, "the streams end")
        assert post(server, max_tokens=1).status_code == 200


@pytest.mark.parametrize("stream", [True, False])
def test_the_clients_deadline_ends_a_request_with_504_and_a_bill(
    tmp_path: Path, stream: bool
) -> None:
    with serving(tmp_path, scripted("m", text=LONG, token_delay_s=0.02)) as server:
        began = time.monotonic()
        r = post(server, stream=stream, max_tokens=4000, headers={"X-Request-Timeout": "0.6"})
        assert time.monotonic() - began < 20
        if stream:
            assert r.text.endswith("data: [DONE]\n\n")
            error = json.loads(r.text.split("\n\n")[-3].removeprefix("data: "))["error"]
        else:
            assert r.status_code == 504
            error = r.json()["error"]
        assert error["code"] == "REQUEST_TIMEOUT"
        generated = server.engines[0].generated_tokens
    (record,) = read_records(tmp_path)
    assert record["end"] == "timed_out"
    assert record["completion_tokens"] == generated > 0
    assert record["amount"] > 0


@pytest.mark.parametrize("timeout", ["0", "-1", "soon"])
def test_a_deadline_that_is_no_time_is_refused(tmp_path: Path, timeout: str) -> None:
    with serving(tmp_path, scripted("m")) as server:
        r = post(server, headers={"X-Request-Timeout": timeout})
        assert r.status_code == 400
        assert r.json()["error"]["param"] == "X-Request-Timeout"


def test_a_request_that_waits_for_a_model_that_never_loads_ends_at_its_deadline(
    tmp_path: Path,
) -> None:
    with serving(tmp_path, scripted("m", load_s=60)) as server:
        r = post(server, headers={"X-Request-Timeout": "0.3"})
        assert (r.status_code, r.json()["error"]["code"]) == (503, "MODEL_LOAD_TIMEOUT")
        facts = {"state": "starting", "percent": None, "position": None, "eta_s": None}
        assert r.json()["error"]["details"] == facts
        assert r.headers["retry-after"] == "10"
    assert [r["end"] for r in read_records(tmp_path)] == ["rejected"]


def test_a_stream_that_waits_for_a_model_hears_how_far_it_is(tmp_path: Path) -> None:
    with serving(tmp_path, scripted("m", load_s=1.5), settings={"keep_alive_s": 0.2}) as server:
        text = post(server, stream=True).text
    assert text.startswith(": loading m state=")
    assert '"content":"go"' in text


@pytest.mark.parametrize("stream", [True, False])
def test_a_request_that_ends_two_engines_is_a_500_and_others_go_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, stream: bool
) -> None:
    with serving(tmp_path, scripted("m"), build=Fragile) as server:
        ask = {"messages": [{"role": "user", "content": "deadly"}], "seed": 7}
        r = post(server, stream=stream, **ask)
        assert (r.status_code, r.json()["error"]["code"]) == (500, "INTERNAL_ERROR")
        assert r.headers["x-should-retry"] == "false"
        request_id = r.headers["x-request-id"]
        assert post(server).status_code == 200
        assert len(server.engines) == 3
    told = next(r.getMessage() for r in caplog.records if "gets no other" in r.getMessage())
    assert request_id in told
    assert "to m ran on 2 engines" in told
    assert "messages" in told
    assert "seed" in told
    assert "deadly" not in caplog.text
    ends = [(r["end"], r["amount"] > 0) for r in read_records(tmp_path)]
    assert ends == [("engine_died", False), ("ok", True)]


def test_a_request_whose_engine_dies_once_before_a_token_gets_the_next(tmp_path: Path) -> None:
    def build(spec: EngineSpec) -> Engine:
        build_count.append(1)
        return Fragile(spec) if len(build_count) == 1 else ScriptedEngine(spec)

    build_count: list[int] = []
    with serving(tmp_path, scripted("m"), build=build) as server:
        r = post(server, messages=[{"role": "user", "content": "deadly"}])
        assert r.status_code == 200
    (record,) = read_records(tmp_path)
    assert record["end"] == "ok"


def test_a_silent_stream_gets_comment_lines_while_it_waits(tmp_path: Path) -> None:
    model = scripted("m", first_token_delay_s=1.3)
    with serving(tmp_path, model, settings={"keep_alive_s": 0.2}) as server:
        text = post(server, stream=True).text
    assert text.startswith(": ")
    assert text.endswith("data: [DONE]\n\n")
    assert '"content":"go"' in text


def test_a_client_that_stops_reading_is_dropped_and_billed(tmp_path: Path) -> None:
    model = scripted(
        "m", text="x" * 2000 + " " + LONG * 20, context_tokens=131072, output_tokens=1 << 20
    )
    with serving(tmp_path, model, settings={"send_timeout_s": 0.4}) as server:
        s = open_stream(server, max_tokens=100_000)
        wait_until(lambda: running(server) == 1, "it runs")
        wait_until(lambda: running(server) == 0, "it is dropped", 30)
        s.close()
        assert post(server, max_tokens=1).status_code == 200
        generated = server.engines[0].generated_tokens
    first, second = read_records(tmp_path)
    assert first["end"] == "client_left"
    assert first["completion_tokens"] + second["completion_tokens"] == generated


@pytest.mark.parametrize("stream", [True, False])
def test_leaving_is_noticed_in_a_later_request_of_the_same_connection(
    tmp_path: Path, stream: bool
) -> None:
    model = scripted("m", text=LONG, token_delay_s=0.02)
    with serving(tmp_path, model) as server:
        client = HTTPConnection(server.url.removeprefix("http://"), timeout=20)
        for max_tokens, is_stream in ((1, False), (1, True), (1000, stream)):
            asked = {**ASK, "max_tokens": max_tokens, "stream": is_stream}
            client.request("POST", "/v1/chat/completions", json.dumps(asked), server.headers)
            if max_tokens == 1:
                assert client.getresponse().read()
        wait_until(lambda: running(server) == 1, "it runs")
        client.close()
        wait_until(lambda: running(server) == 0, "it ends", 10)
    assert [r["end"] for r in read_records(tmp_path)] == ["length", "length", "client_left"]


def test_an_engine_that_dies_ends_the_stream_with_an_error_and_a_bill(tmp_path: Path) -> None:
    with serving(tmp_path, scripted("m", text=LONG, die_after_tokens=5)) as server:
        r = post(server, stream=True)
        assert r.status_code == 200
        last = r.text.split("\n\n")[-3]
        assert json.loads(last.removeprefix("data: "))["error"]["code"] == "MODEL_UNAVAILABLE"
        assert r.text.endswith("data: [DONE]\n\n")
        wait_until(lambda: len(server.engines) == 2, "the engine is replaced")
        assert httpx.get(server.url + "/health").status_code == 200
    record = read_records(tmp_path)[0]
    assert (record["end"], record["completion_tokens"]) == ("engine_died", 5)


def test_a_model_that_cannot_load_is_a_503_and_the_log_says_why(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(tmp_path, scripted("m", fail_load="/srv/weights is empty")) as server:
        r = post(server)
        assert r.status_code == 503
        assert r.json()["error"]["code"] == "MODEL_UNAVAILABLE"
        assert r.json()["error"]["message"].startswith("Model m cannot be loaded now; ")
        assert "/srv/weights is empty" in caplog.text
        assert int(r.headers["retry-after"]) >= 1


def test_a_drain_refuses_new_work_and_lets_streams_finish(tmp_path: Path) -> None:
    with serving(tmp_path, scripted("m", text="w " * 40, token_delay_s=0.02)) as server:
        answers: list[httpx.Response] = []
        thread = threading.Thread(target=lambda: answers.append(post(server, stream=True)))
        thread.start()
        wait_until(lambda: running(server) == 1, "it runs")
        server.services.supervisor.draining = True
        r = post(server)
        assert r.json()["error"]["code"] == "SHUTTING_DOWN"
        assert httpx.get(server.url + "/ready").status_code == 503
        thread.join()
    assert '"finish_reason":"stop"' in answers[0].text


def test_a_drain_that_takes_too_long_cuts_and_bills(tmp_path: Path) -> None:
    model = scripted("m", text=LONG, token_delay_s=0.02)
    answers: list[httpx.Response] = []
    with serving(tmp_path, model, settings={"drain_timeout_s": 0.2}) as server:
        thread = threading.Thread(target=lambda: answers.append(post(server, stream=True)))
        thread.start()
        wait_until(lambda: running(server) == 1, "it runs")
        url, services = server.url, server.services
        asyncio.run(_cut(services.supervisor))
        thread.join(10)
        assert url
    assert '"SHUTTING_DOWN"' in answers[0].text
    assert read_records(tmp_path)[0]["end"] == "shut_down"


async def _cut(watch: Supervisor) -> None:
    for answer in tuple(watch._answers):
        loop: asyncio.AbstractEventLoop = answer._task.get_loop()  # type: ignore[attr-defined]
        loop.call_soon_threadsafe(answer.cut, "shut_down")


def test_a_keys_second_request_at_once_has_a_lower_priority(tmp_path: Path) -> None:
    seen: list[int] = []

    from engines.testing.scripted import ScriptedEngine

    class Remembering(ScriptedEngine):
        async def generate(self, request: Any, prompt: Any, sink: Any = None) -> Any:
            seen.append(request.priority)
            async for d in super().generate(request, prompt):
                yield d

    model = scripted("m", text=LONG, token_delay_s=0.01)
    with serving(tmp_path, model, build=Remembering) as server:
        streams = []
        for count in (1, 2, 3):
            streams.append(open_stream(server))
            wait_until(lambda count=count: len(seen) == count, "it runs")  # type: ignore[misc]
        other = Served(server.url, server.new_key(), tmp_path, server.services)
        streams.append(open_stream(other))
        wait_until(lambda: len(seen) == 4, "all run")
        for s in streams:
            s.close()
    assert seen[0] == seen[3] == 0 < seen[1] < seen[2]
