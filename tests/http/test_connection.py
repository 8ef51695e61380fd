"""A connection over real sockets: every wait for its client has an end."""

import contextlib
import json
import re
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from server.http.connection import MOST_PIPELINED
from tests.support.serving import (
    Served,
    read_records,
    scripted,
    server_of,
    serving,
    wait_until,
)

CHAT = "/v1/chat/completions"
ASK = {"model": "m", "messages": [{"role": "user", "content": "a b c"}]}
served = server_of(scripted("m"))


def connected(server: Served) -> socket.socket:
    host, port = server.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=10)


def request(server: Served, *lines: str, path: str = CHAT, version: str = "1.1") -> bytes:
    """The head of a request."""
    head = [f"POST {path} HTTP/{version}", "Host: x", f"X-API-Key: {server.key}", *lines, "", ""]
    return "\r\n".join(head).encode()


def body(**fields: object) -> bytes:
    return json.dumps(ASK | fields).encode()


def read_all(client: socket.socket) -> bytes:
    """What comes until the server closes; a reset is an end, too."""
    answer = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := client.recv(65536):
            answer += piece
    return answer


def ask(server: Served, *pieces: bytes) -> bytes:
    """The answer to what is sent piece by piece, on a connection that ends with it."""
    with connected(server) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            client.sendall(piece)
            time.sleep(0.05 if len(pieces) > 1 else 0)  # else the kernel joins them
        return read_all(client)


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


@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize("stream", [False, True])
def test_an_offer_of_http2_loses_no_body(served: Served, split: bool, stream: bool) -> None:
    """As the JDK's client and `curl --http2` make it."""
    content = body(stream=stream)
    offer = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAEAAEAA")
    head = request(served, *offer, f"Content-Length: {len(content)}")
    with connected(served) as client:
        for piece in (head, content) if split else (head + content,):
            client.sendall(piece)
            time.sleep(0.05)
        answer = b""
        while b'finish_reason":"stop' not in answer:
            answer += client.recv(65536)
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        client.sendall(request(served, "Content-Length: 2", "Connection: close") + b"{}")
        assert b"HTTP/1.1 400" in read_all(client)


def test_an_offered_upgrade_in_chunks_loses_no_body(served: Served) -> None:
    """Nor the wish that the connection ends with the answer."""
    content = body()
    lines = ("Connection: Upgrade, close", "Upgrade: h2c", "Transfer-Encoding: chunked")
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in content) + b"0\r\n\r\n"
    head = request(served, *lines)
    answer = ask(served, head, chunks)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nconnection: close\r\n" in answer


def test_connect_is_refused(served: Served) -> None:
    answer = ask(served, b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")


def test_http10_gets_a_stream_without_chunks(served: Served) -> None:
    content = body(stream=True)
    length = f"Content-Length: {len(content)}"
    new = ask(served, request(served, length, "Connection: close") + content)
    old = ask(served, request(served, length, version="1.0") + content)
    head, _, events = old.partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head
    assert b"connection: close" in head
    assert events.startswith(b"data: {")
    assert events.endswith(b"data: [DONE]\n\n")
    framed = new.partition(b"\r\n\r\n")[2]
    unframed = re.sub(rb"\r\n(?:0\r\n\r\n)?(?:[0-9a-f]+\r\n)?", b"", b"\r\n" + framed)
    assert len(unframed) == len(events)


def test_http10_gets_a_stalled_stream_whole(tmp_path: Path) -> None:
    """Where the client does not keep up, pieces go ASGI's way."""
    with serving(tmp_path, scripted("m", text="word " * 4000)) as server:
        content = body(stream=True, max_tokens=4000)
        with connected(server) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            length = f"Content-Length: {len(content)}"
            client.sendall(request(server, length, version="1.0") + content)
            time.sleep(0.5)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**20)  # else 40 s of 4 KB
            assert read_all(client).endswith(b"data: [DONE]\n\n")


def test_rubbish_during_a_stream_ends_it_without_a_second_answer(tmp_path: Path) -> None:
    with serving(tmp_path, scripted("m", text="word " * 500, token_delay_s=0.02)) as server:
        content = body(stream=True)
        with connected(server) as client:
            client.sendall(request(server, f"Content-Length: {len(content)}") + content)
            client.recv(1)
            client.sendall(b"\x00\x01\x02\r\n\r\n")
            assert b"HTTP/1.1 400" not in read_all(client)


@pytest.mark.parametrize("sent", [b"\x00\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 20_000])
def test_what_is_no_request_is_refused_with_an_id(served: Served, sent: bytes) -> None:
    assert b"\r\nx-request-id: req_" in ask(served, sent)


def test_a_body_in_chunks_that_is_too_long_gets_its_413(tmp_path: Path) -> None:
    with serving(tmp_path, scripted("m"), settings={"max_body_bytes": 100_000}) as server:
        chunk = b"2710\r\n" + b" " * 10_000 + b"\r\n"
        with connected(server) as client:
            client.sendall(request(server, "Transfer-Encoding: chunked"))
            for _ in range(300):
                client.sendall(chunk)
            client.sendall(b"0\r\n\r\n")
            assert read_all(client).startswith(b"HTTP/1.1 413 ")


def half_closed(server: Served, *sent: bytes) -> bytes:
    """What comes to a client that sends this, ends its own side and reads on."""
    with connected(server) as client:
        for piece in sent:
            client.sendall(piece)
        client.shutdown(socket.SHUT_WR)
        return read_all(client)


def chat(server: Served, path: str = CHAT, version: str = "1.1", **fields: object) -> bytes:
    content = body(**fields)
    head = request(server, f"Content-Length: {len(content)}", path=path, version=version)
    return head + content


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


GOOD_HOSTS = ["x", "", "x:80", "x:", "[::1]:8080", "a_b.example.", "10.0.0.1"]
BAD_HOSTS = ["a b", "a/b", "u@h", "x:y", "[::1", "::1", "x\x80", '"x"']


def hosted(server: Served, hosts: list[str], path: str, version: str = "1.1") -> bytes:
    lines = "".join(f"Host: {host}\r\n" for host in hosts)
    head = f"GET {path} HTTP/{version}\r\n{lines}X-API-Key: {server.key}\r\nConnection: close"
    return ask(server, head.encode("latin-1") + b"\r\n\r\n")


@pytest.mark.parametrize("path", ["/v1/models", "/health", "/admin/v1/keys", "/nowhere"])
@pytest.mark.parametrize("hosts", [[], ["x", "x"], ["x", "y"], ["a b"]])
def test_a_request_without_its_one_host_is_refused(
    served: Served, path: str, hosts: list[str]
) -> None:
    answer = hosted(served, hosts, path)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'"field":"Host"' in answer
    assert b"\r\nx-request-id: req_" in answer
    assert b"\r\nconnection: close" in answer.lower()


def test_hosts_are_names_or_addresses(served: Served) -> None:
    for host in GOOD_HOSTS:
        assert hosted(served, [host], "/health").startswith(b"HTTP/1.1 200"), host
    for host in BAD_HOSTS:
        assert hosted(served, [host], "/health").startswith(b"HTTP/1.1 400"), host
    assert hosted(served, [], "/health", "1.0").startswith(b"HTTP/1.1 200")


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
