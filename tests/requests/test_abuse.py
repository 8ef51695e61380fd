"""Clients that mean harm, or do not know better: a thousand of them cost little, and end."""

import json
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest

from tests.support.serving import Served, read_records, scripted, serving, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.alone]

IDLE, SLOW, HUGE, HALF = 1000, 100, 50, 100
PATIENCE_S = 6.0
"""In place of the server's 20 s for a request's headers."""
MIB = 2**20
ANSWER_TOKENS = 200
"""Of a client that has ended its own side: it still gets its answer, four seconds long."""


def asked(tokens: int) -> bytes:
    body = {"model": "m", "messages": [{"role": "user", "content": "go"}], "stream": True}
    return json.dumps({**body, "max_tokens": tokens}).encode()


ASK = asked(4000)


@pytest.fixture(autouse=True)
def many_files() -> Iterator[None]:
    """Both ends of every connection are this process's."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 3 * (IDLE + SLOW + HUGE + HALF)
    if hard not in (-1, resource.RLIM_INFINITY) and hard < wanted:
        pytest.skip(f"{wanted} open files are needed, {hard} are allowed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setattr("server.http.connection.HEADERS_TIMEOUT_S", PATIENCE_S)
    model = scripted("m", text="word " * 5000, token_delay_s=0.02)
    with serving(tmp_path, model, settings={"concurrent": 1000}) as running:
        yield running


def connected(server: Served, count: int) -> list[socket.socket]:
    host, port = server.url.removeprefix("http://").split(":")
    return [socket.create_connection((host, int(port)), timeout=20) for _ in range(count)]


def head(server: Served) -> bytes:
    return f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nX-API-Key: {server.key}\r\n".encode()


def has_ended(client: socket.socket) -> bool:
    """Whether the server has closed it; what it said is thrown away."""
    client.setblocking(False)
    try:
        while client.recv(65536):
            pass
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def all_ended(clients: Sequence[socket.socket]) -> Callable[[], bool]:
    return lambda: all(has_ended(client) for client in clients)


def close(clients: Sequence[socket.socket]) -> None:
    for client in clients:
        client.close()


def answer(server: Served) -> httpx.Response:
    """To a client that behaves."""
    body = {"model": "m", "messages": [{"role": "user", "content": "go"}], "max_tokens": 1}
    url = server.url + "/v1/chat/completions"
    return httpx.post(url, headers=server.headers, json=body, timeout=20)


def rss() -> int:
    return int(psutil.Process().memory_info().rss)


def test_a_thousand_idle_and_a_hundred_slow_connections_are_cheap_and_end(server: Served) -> None:
    assert answer(server).status_code == 200
    before = rss()
    idle, slow = connected(server, IDLE), connected(server, SLOW)
    for client in slow:
        client.sendall(head(server))
    began = time.monotonic()
    assert answer(server).status_code == 200
    assert time.monotonic() - began < PATIENCE_S / 2
    assert rss() - before < 64 * MIB
    while not all_ended(slow)():  # a header now and then does not buy more time
        assert time.monotonic() - began < 5 * PATIENCE_S
        for client in slow:
            with suppress(OSError):
                client.send(b"X-More: and more\r\n")
        time.sleep(0.1)
    wait_until(all_ended(idle), "idle connections are closed")
    assert answer(server).status_code == 200
    close([*idle, *slow])


def test_endless_headers_are_cut_off_early_and_cost_nothing(server: Served) -> None:
    assert answer(server).status_code == 200
    before = rss()
    clients = connected(server, HUGE)
    for client in clients:
        sent = 0
        with suppress(OSError):  # refused in the middle
            client.sendall(head(server))
            for _ in range(400):
                sent += client.send(b"X-Long: " + b"y" * 65536 + b"\r\n")
        assert sent < 25 * MIB, "the server took all of 25 MiB of headers"
    assert rss() - before < 64 * MIB
    wait_until(all_ended(clients), "they are refused")
    assert answer(server).status_code == 200
    close(clients)


def test_half_closed_connections_end_once_what_they_asked_is_answered_and_billed(
    server: Served, tmp_path: Path
) -> None:
    silent, asking = connected(server, HALF), connected(server, HALF)
    body = asked(ANSWER_TOKENS)
    for client in asking:
        client.sendall(head(server) + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    wait_until(lambda: len(server.services.supervisor) == HALF, "all of them run")
    for client in [*silent, *asking]:
        client.shutdown(socket.SHUT_WR)
    wait_until(all_ended([*silent, *asking]), "all of them end")
    wait_until(lambda: len(server.services.supervisor) == 0, "nothing runs any more")
    assert answer(server).status_code == 200
    close([*silent, *asking])
    generated = server.engines[0].generated_tokens
    wait_until(lambda: len(read_records(tmp_path)) == HALF + 1, "every request has its record")
    billed = sorted(record["completion_tokens"] for record in read_records(tmp_path))
    assert billed == [1, *[ANSWER_TOKENS] * HALF]
    assert sum(billed) == generated


def test_long_wrong_bodies_leave_the_streams_their_turn(server: Served) -> None:
    """The old way stood still for seconds at each of them."""
    body = b'{"model":"m","messages":[{"role":"user","content":[%b]}]}' % b",".join([b"0"] * MIB)
    with httpx.stream("POST", url_of(server), headers=server.headers, content=ASK) as answer:
        chunks = answer.iter_raw()
        next(chunks)
        refusing = threading.Thread(target=refused, args=(server, body))
        refusing.start()
        longest = 0.0
        while refusing.is_alive():
            began = time.monotonic()
            next(chunks)
            longest = max(longest, time.monotonic() - began)
        refusing.join()
    assert longest < 1.0


def refused(server: Served, body: bytes) -> None:
    for _ in range(5):
        assert httpx.post(url_of(server), headers=server.headers, content=body).status_code == 400


def url_of(server: Served) -> str:
    return server.url + "/v1/chat/completions"
