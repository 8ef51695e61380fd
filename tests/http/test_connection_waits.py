"""Every wait for a client has an end: for its head, its body, and its reading of the answer."""

import contextlib
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.raw_http import ASK, CHAT, body, connected, read_all, request
from tests.support.serving import Served, scripted, server_of, serving, wait_until

served = server_of(scripted("m"))


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Served]:
    """A server of little patience, for a key with one slot."""
    monkeypatch.setattr("server.http.connection.HEADERS_TIMEOUT_S", 0.4)
    monkeypatch.setattr("server.http.connection.BODY_TIMEOUT_S", 0.7)
    settings = {"concurrent": 1, "send_timeout_s": 0.3}
    with serving(tmp_path, scripted("m"), settings=settings) as server:
        yield server


@pytest.mark.parametrize("path", [CHAT, "/v1/embeddings", "/v1/responses", "/v1/tokenize"])
@pytest.mark.parametrize("sent", [b"", b"{"])
def test_a_body_that_does_not_come_frees_its_keys_slot(
    hasty: Served, path: str, sent: bytes
) -> None:
    with connected(hasty) as client:
        client.sendall(request(hasty, "Content-Length: 100", path=path) + sent)
        assert read_all(client) == b""
    answer = httpx.post(hasty.url + CHAT, headers=hasty.headers, json=ASK)
    assert answer.status_code == 200


def test_a_body_that_comes_byte_by_byte_gets_no_more_time(hasty: Served) -> None:
    with connected(hasty) as client:
        client.sendall(request(hasty, "Content-Length: 100"))
        began = time.monotonic()
        with contextlib.suppress(OSError):
            while time.monotonic() - began < 20:
                client.sendall(b" ")
                time.sleep(0.05)
        assert time.monotonic() - began < 20


@pytest.mark.parametrize("path", ["/admin/v1/keys", "/health", "/nowhere"])
def test_no_path_waits_for_a_body_for_ever(hasty: Served, path: str) -> None:
    with connected(hasty) as client:
        client.sendall(request(hasty, "Content-Length: 100", path=path))
        client.recv(65536)
        client.sendall(b"{")  # its idle time ends with this, uvicorn's own
        assert read_all(client) is not None


@pytest.mark.parametrize("first", [b"\r\n", b"G", b"POST / HTTP/1.1\r\n"])
def test_a_connection_that_was_used_has_a_bound_on_its_next_head(
    hasty: Served, first: bytes
) -> None:
    with connected(hasty) as client:
        content = body(max_tokens=1)
        client.sendall(request(hasty, f"Content-Length: {len(content)}") + content)
        assert client.recv(65536).startswith(b"HTTP/1.1 200")
        client.sendall(first)
        assert read_all(client) == b""


@pytest.mark.slow
def test_a_pipelined_request_waits_for_its_turn_as_long_as_that_takes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("server.http.connection.BODY_TIMEOUT_S", 0.6)
    model = scripted("m", text="word " * 20, token_delay_s=0.05)
    with serving(tmp_path, model) as server, connected(server) as client:
        first, second = body(stream=True), body(padding="x" * 200_000)
        client.sendall(request(server, f"Content-Length: {len(first)}") + first)
        client.sendall(request(server, f"Content-Length: {len(second)}", "Connection: close"))
        client.sendall(second)
        answers = read_all(client)
    assert answers.count(b"HTTP/1.1 200 OK") == 2


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's table of connections")
def test_the_kernel_asks_whether_a_silent_client_is_still_there(served: Served) -> None:
    with connected(served) as client:
        port = client.getsockname()[1]
        wait_until(lambda: timer_of(port) == "02", "its keep-alive timer runs")


def timer_of(client_port: int) -> str:
    """The kernel's timer of the server's end of a connection; 02: keep-alive."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[2].split(":")[1], 16) == client_port:
            return fields[5].split(":")[0]
    return ""


LONG = 20_000_000


@pytest.fixture
def long_answers(tmp_path: Path) -> Iterator[Served]:
    """Whole answers of 20 MB."""
    model = scripted("m", text="x" * LONG)
    settings = {"concurrent": 2, "send_timeout_s": 0.3}
    with serving(tmp_path, model, settings=settings) as server:
        yield server


@pytest.mark.slow
def test_a_whole_answer_that_nobody_reads_is_dropped_and_holds_its_slot_till_then(
    long_answers: Served,
) -> None:
    content = body()
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connected(long_answers)) for _ in range(2)]
        for client in clients:
            client.sendall(request(long_answers, f"Content-Length: {len(content)}") + content)
        supervisor = long_answers.services.supervisor
        wait_until(lambda: supervisor.in_flight("m") == 2, "both are answered")
        wait_until(lambda: supervisor.in_flight("m") == 0, "both are dropped")
        assert all(len(read_all(client)) < LONG for client in clients)


@pytest.mark.slow
def test_a_whole_answer_that_is_read_slowly_comes_whole(long_answers: Served) -> None:
    content = body()
    with connected(long_answers) as client:
        head = request(long_answers, f"Content-Length: {len(content)}", "Connection: close")
        client.sendall(head + content)
        answer = bytearray()
        while piece := client.recv(1_000_000):
            answer += piece
            time.sleep(0.05)
    assert len(answer) > LONG
    assert answer.endswith(b"}")


def test_a_connection_without_a_request_is_closed_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.http.connection.HEADERS_TIMEOUT_S", 0.3)
    with serving(tmp_path, scripted("m")) as server:
        host, port = server.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as s:
            s.sendall(b"GET /v1/models HTTP/1.1\r\n")
            s.settimeout(5)
            assert s.recv(10) == b""
