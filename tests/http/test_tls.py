"""A server with --tls-cert over real sockets: clients, streams, a new certificate, the end."""

import contextlib
import json
import re
import signal
import socket
import ssl
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from server.cli.server_note import read_note
from tests.support.certificates import Made, made, shown
from tests.support.command import fjord_here
from tests.support.serve_process import Server, fjord, serving, with_registry
from tests.support.service_manager import Manager
from tests.support.serving import read_records, wait_until

pytestmark = pytest.mark.slow

PAIR = made()
WORDS = "on and on and on"
ASK: dict[str, Any] = {"model": "tiny", "messages": [{"role": "user", "content": WORDS}]}
ENDLESS = {"stream": True, "max_tokens": 1000, "ignore_eos": True}
CHAT = "/v1/chat/completions"


@contextlib.contextmanager
def tls_server(home: Path, *args: str, pair: Made = PAIR, **variables: Any) -> Iterator[Server]:
    """A ready one, without keys."""
    cert, key = pair.lie_at(home)
    flags = ("--no-auth", "--tls-cert", str(cert), "--tls-key", str(key), *args)
    with serving(home, *flags, **variables) as server:
        server.until("Ready")
        yield server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = with_registry(tmp_path_factory.mktemp("home"), token_delay_s=0.002)
    with tls_server(home) as running:
        yield running


def url(server: Server) -> str:
    return f"https://localhost:{server.port}"


def client(server: Server, trusted: Made = PAIR) -> httpx.Client:
    return httpx.Client(base_url=url(server), verify=trusted.trusted(), timeout=30)


def connected(server: Server, context: ssl.SSLContext | None = None) -> ssl.SSLSocket:
    plain = socket.create_connection(("127.0.0.1", int(server.port)), timeout=30)
    return (context or PAIR.trusted()).wrap_socket(plain, server_hostname="localhost")


def read_all(connection: socket.socket) -> bytes:
    pieces = []
    while piece := connection.recv(65536):
        pieces.append(piece)
    return b"".join(pieces)


def test_it_says_its_address_by_a_name_of_the_certificate(server: Server) -> None:
    said = "".join(server.said)
    assert f"Fjord at https://localhost:{server.port}," in said
    assert "ends on" in said


def test_openais_client_gets_whole_answers_and_streams(server: Server) -> None:
    http = openai.DefaultHttpxClient(verify=PAIR.trusted())
    with openai.OpenAI(base_url=f"{url(server)}/v1", api_key="any", http_client=http) as ours:
        whole = ours.chat.completions.create(**ASK)
        assert whole.choices[0].message.content == WORDS
        chunks = list(ours.chat.completions.create(**ASK, stream=True))
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == WORDS
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_httpx_keeps_a_connection_for_whole_answers_and_streams(server: Server) -> None:
    with client(server) as http:
        for _ in range(3):
            assert http.post(CHAT, json=ASK).json()["choices"][0]["message"]["content"] == WORDS
            with http.stream("POST", CHAT, json={**ASK, "stream": True}) as answer:
                assert answer.read().endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("is_stream", [False, True])
def test_http_1_0_ends_with_its_connection(server: Server, is_stream: bool) -> None:
    body = json.dumps({**ASK, "stream": is_stream}).encode()
    with connected(server) as connection:
        connection.sendall(
            b"POST %b HTTP/1.0\r\nContent-Length: %d\r\n\r\n%b" % (CHAT.encode(), len(body), body)
        )
        head, _, answer = read_all(connection).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK")
    if is_stream:
        assert answer.endswith(b"data: [DONE]\n\n")
    else:
        assert json.loads(answer)["choices"][0]["message"]["content"] == WORDS


def test_it_speaks_http_1_1_in_tls_1_2_and_1_3_alone(server: Server) -> None:
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = PAIR.trusted()
        context.minimum_version = context.maximum_version = version
        context.set_alpn_protocols(["h2", "http/1.1"])
        with connected(server, context) as connection:
            assert connection.selected_alpn_protocol() == "http/1.1"
    old = PAIR.trusted()
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError):
        connected(server, old)


def test_plain_http_on_its_port_is_closed_at_once(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", int(server.port)), timeout=30) as plain:
        plain.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert b"HTTP" not in read_all(plain)
    with client(server) as http:
        assert http.get("/health").status_code == 200


def test_silent_handshakes_hinder_nobody(server: Server) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(200):
            address = ("127.0.0.1", int(server.port))
            stack.enter_context(socket.create_connection(address, timeout=30))
        with client(server) as http:
            assert http.post(CHAT, json=ASK).status_code == 200
            assert 'fjord_requests_in_flight{alias="tiny"} 0.0' in http.get("/metrics").text


def test_a_client_that_leaves_a_stream_is_seen(server: Server) -> None:
    with client(server) as http, http.stream("POST", CHAT, json={**ASK, **ENDLESS}) as answer:
        assert next(answer.iter_lines()).startswith("data:")
    data_dir = server.home / "data"
    wait_until(lambda: read_records(data_dir)[-1]["end"] == "client_left", "the record is written")


def test_another_page_of_https_is_refused_and_its_own_is_not(server: Server) -> None:
    with client(server) as http:
        own = {"Origin": url(server)}
        assert http.post(CHAT, json=ASK, headers=own).status_code == 200
        foreign = {"Origin": url(server).replace("https", "http")}
        assert http.post(CHAT, json=ASK, headers=foreign).status_code == 403


def test_a_new_certificate_is_for_new_connections_and_ends_none(tmp_path: Path) -> None:
    other = made(last_day=60)
    home = with_registry(tmp_path, token_delay_s=0.02)
    with tls_server(home) as server, client(server) as http:
        with http.stream("POST", CHAT, json={**ASK, **ENDLESS}) as answer:
            lines = answer.iter_lines()
            assert next(lines).startswith("data:")
            other.lie_at(home)
            wait_until(lambda: shown(server.port) == other.serial, "the new one is shown")
            later = [next(lines) for _ in range(20)]
        assert sum(line.startswith("data:") for line in later) >= 5
        with client(server, other) as new:
            text = new.get("/metrics").text
            said = re.search(r"^fjord_tls_certificate_expiry\S+ (\S+)$", text, re.M)
            assert said is not None
            assert float(said[1]) == other.ends_at
        assert fjord_here(home, "apply").returncode == 0  # the note is of the new one, too


def test_a_reload_reads_it_at_once_and_tells_the_service_manager(tmp_path: Path) -> None:
    manager = Manager(str(tmp_path / "notify"))
    with tls_server(with_registry(tmp_path), NOTIFY_SOCKET=manager.address) as server:
        assert manager.hears()[0] == "READY=1"
        assert manager.hears() == ["STATUS=Ready."]
        words = ("The certificate was read again.", "The certificate has a mistake.")
        for pair, said in zip((made(), Made(b"x", b"y", 0, 0)), words, strict=True):
            pair.lie_at(tmp_path)
            server.process.send_signal(signal.SIGHUP)
            assert manager.hears()[0] == "RELOADING=1"
            assert manager.hears() == ["READY=1", f"STATUS=The registry was read again. {said}"]
    manager.close()


def test_a_drain_gives_a_stream_its_end_and_waits_for_no_idle_client(tmp_path: Path) -> None:
    home = with_registry(tmp_path, token_delay_s=0.02)
    with tls_server(home) as server, client(server) as idle, client(server) as http:
        assert idle.get("/health").status_code == 200
        with http.stream("POST", CHAT, json={**ASK, "stream": True}) as answer:
            lines = answer.iter_lines()
            assert next(lines).startswith("data:")
            server.process.send_signal(signal.SIGTERM)
            assert [line for line in lines if line][-1] == "data: [DONE]"
        assert server.process.wait(30) == 0
        with pytest.raises(AssertionError, match="never said"):
            server.until("never said by anyone")
        assert "graceful shutdown exceeded" not in "".join(server.said)
    assert not (home / "data/listening").exists()


def test_commands_find_it_by_what_it_notes(tmp_path: Path) -> None:
    home = with_registry(tmp_path)
    with tls_server(home) as server:
        listed = fjord_here(home, "models")
        assert listed.returncode == 0, listed.stderr
        assert f"The server at https://127.0.0.1:{server.port}" in listed.stdout
        assert fjord_here(home, "run", "tiny", "hei du").stdout == "hei du\n"
        by_port = fjord_here(home, "models", "pin", "tiny", "--port", server.port)
        assert "pinned" in by_port.stdout
        asked = fjord_here(home, "conform", "--only", "paths", "--api-key", "any")
        assert asked.returncode == 0, asked.stdout + asked.stderr
        stranger = fjord_here(home, "models", "--url", f"https://localhost:{server.port}")
        assert stranger.returncode == 2  # by its URL as everybody: whom this machine trusts
        trusting = {"SSL_CERT_FILE": str(home / "cert.pem"), "FJORD_URL": url(server)}
        assert "The server at https" in fjord(home, "models", **trusting).stdout
        asked = fjord(home, "conform", "--only", "paths", "--api-key", "any", **trusting)
        assert asked.returncode == 0, asked.stdout + asked.stderr
        assert (home / "data/listening").stat().st_mode & 0o777 == 0o600
        assert read_note(home / "data") is not None

        server.process.kill()
        server.process.wait()
        assert (home / "data/listening").exists()  # nobody took it back, and nobody believes it
        assert read_note(home / "data") is None


def test_a_certificate_that_has_ended_serves_who_knows_it(tmp_path: Path) -> None:
    home, pair = with_registry(tmp_path), made(first_day=-9, last_day=-2)
    with tls_server(home, pair=pair) as server:
        assert "clients refuse it" in "".join(server.said)
        with pytest.raises(httpx.ConnectError, match="expired"), client(server, pair) as http:
            http.get("/health")
        assert "The server at https" in fjord_here(home, "models").stdout


def test_an_idle_client_that_never_ends_its_side_is_cut(tmp_path: Path) -> None:
    code = "from server.cli import main, serve; serve.KEEP_ALIVE_S = 1; main.main()"
    command = [sys.executable, "-P", "-c", code]
    home = with_registry(tmp_path)
    with (
        tls_server(home, command=command, FJORD_SEND_TIMEOUT_S="1") as server,
        connected(server) as idle,
    ):
        idle.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert idle.recv(65536).startswith(b"HTTP/1.1 200 OK")
        began = time.monotonic()
        with (
            socket.socket(fileno=idle.detach()) as below,
            contextlib.suppress(ConnectionResetError),
        ):
            below.settimeout(60)
            read_all(below)
        # A second idle and two looks of a second; the event loop's own patience would be 11 more.
        assert time.monotonic() - began < 9
