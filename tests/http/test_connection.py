"""HTTP/1 over real sockets, as odd clients speak it: HTTP/2 offered, HTTP/1.0, hosts, rubbish."""

import json
import re
import socket
import time
from pathlib import Path

import pytest

from tests.support.raw_http import ask, body, connected, read_all, request
from tests.support.serving import Served, scripted, server_of, serving

served = server_of(scripted("m"))


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


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /v1/models HTTP/1.1\r\nHost: x\r\n" + b"X-A: b\r\n" * 9000, 431),
        (b"NONSENSE\r\n\r\n", 400),
    ],
)
def test_bad_http_gets_the_error_body_and_a_closed_connection(
    tmp_path: Path, sent: bytes, status: int
) -> None:
    with serving(tmp_path, scripted("m")) as server:
        host, port = server.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as s:
            s.sendall(sent)
            answer = s.makefile("rb").read()
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        error = json.loads(answer.split(b"\r\n\r\n", 1)[1])["error"]
        assert error["code"]
        assert error["type"] == "invalid_request_error"
