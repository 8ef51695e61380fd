"""A client that ends its own side of a connection, and reads on or leaves."""

import socket
import time
from pathlib import Path

import pytest

from tests.support.raw_http import chat, connected, half_closed
from tests.support.serving import Served, read_records, scripted, server_of, serving, wait_until

served = server_of(scripted("m"))


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_ends_its_own_side_gets_its_answer(
    tmp_path: Path, stream: bool, version: str
) -> None:
    slow = scripted("m", first_token_delay_s=1, text="a b c d")
    with serving(tmp_path, slow, settings={"keep_alive_s": 5.0}) as server:
        answer = half_closed(server, chat(server, stream=stream, version=version))
        interim, final, told = answer.rpartition(b"HTTP/1.1 200 OK\r\n")
        assert final
        assert (b"data: [DONE]" in told) if stream else (b'"finish_reason":"stop"' in told)
        assert interim == b"HTTP/1.1 100 Continue\r\n\r\n" * (interim.count(b"100 Continue"))
        assert bool(interim) == (version == "1.1")
        assert b"connection: close" in told
        wait_until(lambda: read_records(tmp_path), "its record is there")
        assert [record["end"] for record in read_records(tmp_path)] == ["ok"]


@pytest.mark.parametrize("path", ["/health", "/v1/models", "/v1/tokenize", "/nowhere"])
def test_any_answer_comes_to_a_client_that_ends_its_own_side(served: Served, path: str) -> None:
    get = f"GET {path} HTTP/1.1\r\nHost: x\r\nX-API-Key: {served.key}\r\n\r\n".encode()
    sent = chat(served, path=path) if path == "/v1/tokenize" else get
    answer = half_closed(served, sent)
    assert answer.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")[:12] in (
        b"HTTP/1.1 200",
        b"HTTP/1.1 404",
    )


def test_pipelined_requests_before_the_end_are_all_answered(tmp_path: Path) -> None:
    with serving(tmp_path, scripted("m", first_token_delay_s=0.2, text="a")) as server:
        answer = half_closed(server, chat(server), chat(server, stream=True), chat(server))
        assert answer.count(b"HTTP/1.1 200 OK\r\n") == 3


@pytest.mark.parametrize("whole", [0, 1])
def test_half_a_request_before_the_end_is_closed_at_once(served: Served, whole: int) -> None:
    began = time.monotonic()
    answer = half_closed(served, chat(served) * whole, chat(served)[:-1])
    assert time.monotonic() - began < 10
    assert answer.count(b"HTTP/1.1 200") <= whole


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_ends_its_own_side_and_then_leaves_is_noticed(
    tmp_path: Path, stream: bool
) -> None:
    """Also where it is silent: nothing is read from it any more."""
    hung = scripted("m", hang_after_tokens=3, text="a b c d e f")
    with serving(tmp_path, hung, settings={"keep_alive_s": 60.0}) as server:
        with connected(server) as client:
            client.sendall(chat(server, stream=stream))
            client.shutdown(socket.SHUT_WR)
            wait_until(lambda: server.services.supervisor.requests(), "it runs")
        wait_until(lambda: not server.services.supervisor.requests(), "it is over")
        assert [record["end"] for record in read_records(tmp_path)] == ["client_left"]
