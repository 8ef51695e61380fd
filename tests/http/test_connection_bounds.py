"""What a connection takes in is bounded: chunks, what is beside them, and requests that wait."""

import contextlib
from pathlib import Path

import pytest

from server.http.connection import MOST_PIPELINED
from tests.support.raw_http import CHAT, ask, body, connected, half_closed, read_all, request
from tests.support.serving import Served, scripted, server_of, serving

served = server_of(scripted("m"))


def test_a_body_in_chunks_that_is_too_long_gets_its_413(tmp_path: Path) -> None:
    with serving(tmp_path, scripted("m"), settings={"max_body_bytes": 100_000}) as server:
        chunk = b"2710\r\n" + b" " * 10_000 + b"\r\n"
        with connected(server) as client:
            client.sendall(request(server, "Transfer-Encoding: chunked"))
            for _ in range(300):
                client.sendall(chunk)
            client.sendall(b"0\r\n\r\n")
            assert read_all(client).startswith(b"HTTP/1.1 413 ")


ENDLESS_TAILS = {
    "trailers": (b"0\r\n", b"X-A: b\r\n" * 8192),
    "one trailer": (b"0\r\nX-A: ", b"b" * 65536),
    "a chunk's extension": (b"1;a=", b"b" * 65536),
}


@pytest.mark.parametrize("tail", ENDLESS_TAILS)
@pytest.mark.parametrize("path", [CHAT, "/health", "/nowhere"])
def test_what_is_beside_a_body_is_bounded_like_a_head(served: Served, path: str, tail: str) -> None:
    """Trailers were kept, 4 bytes of memory for each of theirs, and no key was needed."""
    begin, piece = ENDLESS_TAILS[tail]
    sent = 0
    with connected(served) as client, contextlib.suppress(ConnectionError):
        client.sendall(request(served, "Transfer-Encoding: chunked", path=path) + begin)
        while sent < 64 * 2**20:
            client.sendall(piece)
            sent += len(piece)
    assert sent < 32 * 2**20  # it was cut; the kernels hold some MiB of what was sent


def test_trailers_are_taken_and_are_no_headers(served: Served) -> None:
    content = body()
    head = request(served, "Transfer-Encoding: chunked", "Connection: close")
    chunks = b"%x;a=b\r\n%b\r\n0\r\n" % (len(content), content)
    trailers = b"X-Request-Id: trailed\r\nContent-Encoding: zstd\r\nHost: two\r\n\r\n"
    for pieces in ((head + chunks + trailers,), (head, chunks, trailers)):
        answer = ask(served, *pieces)
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"x-request-id: trailed" not in answer


def test_a_body_in_chunks_of_a_byte_is_taken(served: Served) -> None:
    padded = body() + b" " * 80_000
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in padded)
    head = request(served, "Transfer-Encoding: chunked", "Connection: close")
    assert ask(served, head + chunks + b"0\r\n\r\n").startswith(b"HTTP/1.1 200")


HEALTH = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"


def test_a_client_that_sends_requests_without_end_is_cut(served: Served) -> None:
    """uvicorn read on behind each answer: 6 s of it took 250 MB, without a key."""
    sent = 0
    with connected(served) as client, contextlib.suppress(ConnectionError):
        while sent < 64 * 2**20:
            client.sendall(HEALTH * 2000)
            sent += 2000 * len(HEALTH)
    assert sent < 32 * 2**20


def test_as_many_as_may_wait_on_a_connection_are_answered_in_order(served: Served) -> None:
    sent = HEALTH * MOST_PIPELINED + HEALTH.replace(b"/health", b"/nowhere")
    answer = half_closed(served, sent)
    assert answer.count(b"HTTP/1.1 200 OK") == MOST_PIPELINED
    assert answer.rpartition(b"HTTP/1.1 ")[2].startswith(b"404")
    refused = half_closed(served, HEALTH * (MOST_PIPELINED + 2))
    assert b"64 requests wait on this connection" in refused
