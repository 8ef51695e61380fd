"""A server with --uds over a real socket: clients, its file, pages, commands."""

import contextlib
import json
import os
import re
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import httpx2
import openai
import pytest

from server.cli.unix_socket import unix_socket
from server.refusal import CannotStart
from tests.cli.test_alive import alive
from tests.support.command import fjord_here
from tests.support.serve_process import Server, serving, with_registry

CHAT = "/v1/chat/completions"
ASK: dict[str, Any] = {"model": "tiny", "messages": [{"role": "user", "content": "hei du"}]}


@contextlib.contextmanager
def on_socket(home: Path, *args: str, has_port: bool = False) -> Iterator[Server]:
    """A ready one at home/s, without keys."""
    flags = ("--no-auth", "--uds", str(home / "s"), *args)
    with serving(home, *flags, has_port=has_port) as server:
        server.until("Ready")
        yield server


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = with_registry(tmp_path_factory.mktemp("home"))
    with on_socket(home):
        yield home


def client(path: Path) -> httpx.Client:
    transport = httpx.HTTPTransport(uds=str(path))
    return httpx.Client(base_url="http://localhost", transport=transport, timeout=30)


@pytest.mark.slow
def test_openais_client_and_httpx_get_whole_answers_and_streams(home: Path) -> None:
    http = openai.DefaultHttpxClient(transport=httpx2.HTTPTransport(uds=str(home / "s")))
    with openai.OpenAI(base_url="http://localhost/v1", api_key="any", http_client=http) as ours:
        assert ours.chat.completions.create(**ASK).choices[0].message.content == "hei du"
        chunks = list(ours.chat.completions.create(**ASK, stream=True))
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == "hei du"
    with client(home / "s") as ours:
        for _ in range(3):
            with ours.stream("POST", CHAT, json={**ASK, "stream": True}) as answer:
                assert answer.read().endswith(b"data: [DONE]\n\n")


@pytest.mark.slow
def test_a_client_that_ends_its_side_still_gets_its_answer(home: Path) -> None:
    body = json.dumps({**ASK, "stream": True}).encode()
    head = b"POST %b HTTP/1.0\r\nContent-Length: %d\r\n\r\n" % (CHAT.encode(), len(body))
    with socket.socket(socket.AF_UNIX) as plain:
        plain.settimeout(30)
        plain.connect(str(home / "s"))
        plain.sendall(head + body)
        plain.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: plain.recv(65536), b""))
    assert answer.endswith(b"data: [DONE]\n\n")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "llm.example.com"}, 200),  # what a proxy was asked for
        ({"Host": "llm.example.com", "Origin": "https://llm.example.com"}, 200),
        ({"Host": "llm.example.com:8443", "Origin": "https://llm.example.com:8443"}, 200),
        ({"Host": "llm.example.com", "Origin": "https://evil.example.com"}, 403),
        ({"Host": "llm.example.com", "Origin": "https://llm.example.com.evil.com"}, 403),
        ({"Host": "llm.example.com", "Origin": "null"}, 403),
        ({"Host": "llm.example.com", "Sec-Fetch-Site": "cross-site"}, 403),
        ({"Host": "llm.example.com", "Sec-Fetch-Site": "same-origin"}, 200),
    ],
)
def test_without_keys_other_pages_behind_a_proxy_are_refused(
    home: Path, headers: dict[str, str], status: int
) -> None:
    with client(home / "s") as ours:
        assert ours.post(CHAT, json=ASK, headers=headers).status_code == status


@pytest.mark.slow
def test_it_says_where_it_is_and_commands_find_it(home: Path) -> None:
    listed = fjord_here(home, "models")
    assert f"The server at unix:{home / 's'}" in listed.stdout, listed.stderr
    assert fjord_here(home, "run", "tiny", "hei du").stdout == "hei du\n"
    assert "pinned" in fjord_here(home, "models", "pin", "tiny").stdout
    asked = fjord_here(home, "conform", "--only", "paths", "--api-key", "any")
    assert asked.returncode == 0, asked.stdout + asked.stderr
    elsewhere = fjord_here(home, "models", "--data-dir", "other", FJORD_URL=f"unix:{home / 's'}")
    assert f"The server at unix:{home / 's'}" in elsewhere.stdout
    for place in ("s", str(home / "s")):
        by_setting = fjord_here(home, "models", FJORD_UDS=place)
        assert f"The server at unix:{home / 's'}" in by_setting.stdout
    assert alive(home) == 0


@pytest.mark.slow
def test_beside_a_port_both_answer(tmp_path: Path) -> None:
    home = with_registry(tmp_path)
    with on_socket(home, "--uds-mode", "600", has_port=True) as server:
        said = re.search(r"Fjord at http://127\.0\.0\.1:(\d+) and unix:", "".join(server.said))
        assert said is not None
        port = said[1]
        assert httpx.get(f"http://127.0.0.1:{port}/health").status_code == 200
        with client(home / "s") as ours:
            assert ours.get("/health").status_code == 200
        assert (home / "s").stat().st_mode & 0o777 == 0o600


@pytest.mark.slow
def test_a_dead_servers_file_is_replaced_and_a_living_ones_is_not(tmp_path: Path) -> None:
    home = with_registry(tmp_path)
    with on_socket(home) as first:
        first.process.kill()
        first.process.wait()
    assert (home / "s").is_socket()
    with on_socket(home, "--host", "0.0.0.0") as second:
        assert (home / "s").stat().st_mode & 0o777 == 0o660
        refused = fjord_here(home, "serve", "--uds", "s", "--data-dir", "other")
        assert refused.returncode == 2
        assert refused.stderr == (
            "fjord: --uds s is another server's, which runs; choose another.\n"
        )
        with client(home / "s") as ours:
            assert ours.get("/health").status_code == 200
        assert second.ends(signal.SIGTERM) == 0
        assert not (home / "s").exists()
        assert not (home / "data/listening").exists()


def test_of_many_starts_at_once_one_gets_the_socket(tmp_path: Path) -> None:
    path, got, refused = tmp_path / "s", [], []
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()
    begin, end = threading.Barrier(8), threading.Barrier(8)

    def start() -> None:
        begin.wait(30)
        try:
            with unix_socket(path, 0o660) as listener:
                got.append(listener.getsockname())
                end.wait(30)
        except CannotStart as why:
            refused.append(str(why))
            end.wait(30)

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (len(got), len(refused)) == (1, 7), refused
    assert all("another server's" in why for why in refused)
    assert not path.exists()


def test_a_file_that_is_no_longer_ours_stays_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with unix_socket(path, 0o660):
        path.rename(tmp_path / "moved")
        path.write_text("another's")
    assert path.read_text() == "another's"


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666])
def test_the_mode_holds_whatever_the_process_would_give(tmp_path: Path, mode: int) -> None:
    mask = os.umask(0o077)
    try:
        with unix_socket(tmp_path / "s", mode):
            assert (tmp_path / "s").stat().st_mode & 0o777 == mode
        assert os.umask(0o077) == 0o077
    finally:
        os.umask(mask)
