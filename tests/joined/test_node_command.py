"""`fjord node` as a process, and its head as another: secrets, restarts, signals, what is shown."""

import contextlib
import json
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

from tests.support.certificates import made
from tests.support.joining import TOKEN
from tests.support.serve_process import FJORD, Server, environment, fjord, serving, with_registry
from tests.support.serving import wait_until

pytestmark = pytest.mark.slow


@contextlib.contextmanager
def running_node(home: Path, url: str, **variables: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Whose words are in `node.log`."""
    command = [*FJORD, "node", "--join", url, "--name", "gpu-2"]
    variables = {"FJORD_NODE_TOKEN": TOKEN, "COLUMNS": "80", **variables}
    with (home / "node.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=home, env=environment(**variables), stdout=log, stderr=log
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def said(home: Path) -> list[str]:
    return (home / "node.log").read_text().splitlines()


def _words(home: Path) -> str:
    return " ".join(" ".join(said(home)).split())


def states(server: Server) -> list[str]:
    shown = fjord(server.home, "nodes", "--port", server.port, "--json")
    return [each["state"] for each in json.loads(shown.stdout) if "vllm" in each]


def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return str(free.getsockname()[1])


def test_a_node_joins_stays_through_restarts_and_leaves_at_a_signal(tmp_path: Path) -> None:
    home, port = with_registry(tmp_path), free_port()
    how: dict[str, Any] = {"FJORD_NODE_TOKEN": TOKEN}
    with serving(home, "--port", port, **how) as server:
        url = server.url()
        with running_node(home, url) as node:
            wait_until(lambda: states(server) == ["joined"], "it joins")
            _untold(server.process.pid, node.pid)
            shown = fjord(home, "nodes", "--port", port).stdout
            assert "gpu-2" in shown
            assert max(map(len, shown.splitlines())) <= 80
            server.process.kill()
            server.process.wait()
            wait_until(lambda: "broke" in said(home)[-1] or "No link" in said(home)[-2], "it says")
            with serving(home, "--port", port, **how) as again:
                again.url()
                wait_until(lambda: states(again) == ["joined"], "it joins the next head")
                node.send_signal(signal.SIGSTOP)
                began = time.monotonic()
                wait_until(lambda: states(again) == ["lost"], "frozen it is lost")
                assert time.monotonic() - began < 10
                node.send_signal(signal.SIGCONT)
                wait_until(lambda: states(again) == ["joined"], "it comes back by itself")
                began = time.monotonic()
                node.send_signal(signal.SIGINT)
                assert node.wait(5) == 0
                assert time.monotonic() - began < 2
                wait_until(lambda: states(again) == ["lost"], "it has left")
    lines = said(home)
    assert max(map(len, lines)) <= 80
    assert sum("Joined" in line for line in lines) == 3, lines
    assert len(lines) < 20, lines
    assert "leaves" in lines[-1]


def _untold(*processes: int) -> None:
    """Nobody's command line, nor what their children are given, has the secret."""
    for process in processes:
        tree = [psutil.Process(process), *psutil.Process(process).children(recursive=True)]
        assert TOKEN not in " ".join(word for each in tree for word in each.cmdline())
        assert all(TOKEN not in each.environ().values() for each in tree[1:])


@pytest.mark.parametrize(
    ("variables", "arguments", "words"),
    [
        ({}, [], "has no node token"),
        ({"FJORD_NODE_TOKEN": "short"}, [], "16 to 1024 characters"),
        ({"FJORD_NODE_TOKEN": "another" * 6}, [], "another node token"),
        ({}, ["--node-token-file", "absent"], "absent cannot be read"),
        ({"FJORD_NODE_TOKEN": TOKEN}, ["--node-token-file", "absent"], "both given"),
    ],
)
def test_a_node_without_the_right_token_ends_and_says_what_would_be_right(
    site: Server, variables: dict[str, str], arguments: list[str], words: str
) -> None:
    url = f"http://127.0.0.1:{site.port}"
    done = fjord(site.home, "node", "--join", url, *arguments, **variables)
    assert done.returncode == 2
    assert words in done.stderr
    assert not any(value in done.stderr for value in variables.values())


@pytest.mark.parametrize("url", ["gpu-1:8080", "ftp://gpu-1", "http://gpu-1/v1", "http://a b"])
def test_an_address_that_is_none_is_refused(tmp_path: Path, url: str) -> None:
    done = fjord(tmp_path, "node", "--join", url, FJORD_NODE_TOKEN=TOKEN)
    assert done.returncode == 2
    assert "right would be like http://gpu-1" in done.stderr


def test_what_is_no_fjord_server_is_said_to_be_none(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        url = f"http://127.0.0.1:{other.getsockname()[1]}"
        with running_node(tmp_path, url) as node:
            connection = other.accept()[0]
            with connection:
                connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
                wait_until(lambda: "is no Fjord server" in _words(tmp_path), "it says so")
            connection = other.accept()[0]
            with connection:
                body = b'{"error": {"message": "\\u001b[31mred"}}'
                connection.sendall(b"HTTP/1.1 503 No\r\nContent-Length: %d\r\n\r\n" % len(body))
                connection.sendall(body)
                wait_until(lambda: "refuses: ?[31mred" in _words(tmp_path), "it says that")
            assert node.poll() is None


def test_a_node_whose_log_has_no_room_works_on(site: Server) -> None:
    url = f"http://127.0.0.1:{site.port}"
    command = [*FJORD, "node", "--join", url, "--name", "gpu-2"]
    with open("/dev/full", "wb") as full:
        node = subprocess.Popen(
            command, cwd=site.home, env=environment(FJORD_NODE_TOKEN=TOKEN), stdout=full
        )
    try:
        wait_until(lambda: states(site) == ["joined"], "it joins")
        node.send_signal(signal.SIGINT)
        assert node.wait(5) == 0
    finally:
        node.kill()
        node.wait()


def test_a_node_joins_over_tls_where_it_trusts_the_certificate(tmp_path: Path) -> None:
    home = with_registry(tmp_path)
    cert, key = (str(path) for path in made().lie_at(home))
    files = ("--tls-cert", cert, "--tls-key", key)
    with serving(home, *files, FJORD_NODE_TOKEN=TOKEN) as server:
        url = f"https://127.0.0.1:{urlsplit(server.url()).port}"
        with running_node(home, url):
            wait_until(lambda: "CERTIFICATE_VERIFY_FAILED" in _words(home), "it does not trust it")
        with running_node(home, url, SSL_CERT_FILE=cert) as node:
            wait_until(lambda: "Joined https://127.0.0.1" in _words(home), "it joins")
            assert node.poll() is None


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = with_registry(tmp_path_factory.mktemp("head"))
    with serving(home, FJORD_NODE_TOKEN=TOKEN) as server:
        server.url()
        yield server
