"""A server with --ops-port: what operators ask for is there, and nowhere else."""

import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from engines.testing.scripted import ScriptedEngine
from server.app import FjordApp
from tests.cli.test_alive import alive
from tests.support.certificates import made
from tests.support.command import fjord_here
from tests.support.serve_process import Server, ask, serving, streaming, with_registry
from tests.support.serving import prepared, wait_until

OPS = ("/metrics", "/ready", "/docs", "/docs/swagger-ui.css", "/openapi.json")
ADMIN = ("/admin/v1/keys", "/admin/v1/models", "/admin/v1/usage")
BOTH = {"/", "/health"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = with_registry(tmp_path_factory.mktemp("home"))
    with serving(home, "--ops-port", "0") as running:
        running.until("Ready")
        yield running


def api(server: Server) -> str:
    return f"http://127.0.0.1:{server.port}"


def ops(server: Server) -> str:
    said = re.search(r"At (https?://\S+), and nowhere else", "".join(server.said))
    assert said is not None
    return said[1]


def operator(server: Server) -> dict[str, str]:
    return {"X-API-Key": (server.home / "data/operator_token").read_text().strip()}


@pytest.mark.slow
@pytest.mark.parametrize("path", [*OPS, *ADMIN])
def test_each_is_on_the_operators_port_alone(server: Server, path: str) -> None:
    there = httpx.get(ops(server) + path, headers=operator(server))
    assert there.status_code == 200
    for method in ("GET", "HEAD", "POST", "OPTIONS"):
        here = httpx.request(method, api(server) + path, headers=operator(server))
        assert here.status_code == 404
        if method != "HEAD":
            assert here.json()["error"]["code"] == "NOT_FOUND"


@pytest.mark.slow
@pytest.mark.parametrize(
    "path",
    [
        "/metrics%0A",
        "/%6Detrics",
        "//metrics",
        "/metrics/",
        "/x/../metrics",
        "/metrics?x",
        "/admin",
        "/admin/",
        "/admin/v1/keys%0A",
        "/%61dmin/v1/models",
        "/docs/",
        "/docs/x",
    ],
)
def test_no_other_spelling_reaches_them(server: Server, path: str) -> None:
    key = operator(server)["X-API-Key"].encode()
    with socket.create_connection(("127.0.0.1", int(server.port)), timeout=30) as plain:
        plain.sendall(
            b"GET %b HTTP/1.1\r\nHost: localhost\r\nX-API-Key: %b\r\nConnection: close\r\n\r\n"
            % (path.encode(), key)
        )
        answer = b"".join(iter(lambda: plain.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 404 ")


@pytest.mark.slow
def test_the_api_is_not_on_the_operators_port(server: Server) -> None:
    key = {"X-API-Key": server.key()}
    assert httpx.get(f"{api(server)}/v1/models", headers=key).status_code == 200
    assert httpx.get(f"{ops(server)}/v1/models", headers=key).status_code == 404
    assert ask(api(server), server.key()).status_code == 200
    assert ask(ops(server), server.key()).status_code == 404


@pytest.mark.slow
def test_the_admin_api_still_asks_for_its_key(server: Server) -> None:
    assert httpx.get(f"{ops(server)}/admin/v1/keys").status_code == 401
    wrong = {"X-API-Key": server.key()}
    assert httpx.get(f"{ops(server)}/admin/v1/keys", headers=wrong).status_code == 403


@pytest.mark.slow
def test_health_and_a_welcome_are_on_both(server: Server) -> None:
    for url in (api(server), ops(server)):
        assert httpx.get(f"{url}/health").json() == {"status": "ok"}
        welcome = httpx.get(url).json()
        paths = [path for path in welcome.values() if path.startswith("/")]
        page = httpx.get(url, headers={"Accept": "text/html"}).text
        linked = [f"/{link}" for link in re.findall(r'href="([a-z.]+)"', page)]
        assert "/health" in paths
        assert "/health" in linked
        for path in {*paths, *linked}:
            status = httpx.request("OPTIONS", url + path).status_code
            assert status == 405, f"{url}{path}"  # it is there, and is asked otherwise


@pytest.mark.slow
def test_commands_ask_each_where_it_is(server: Server) -> None:
    home = server.home
    assert f"The server at {api(server)}" in fjord_here(home, "models").stdout
    assert "pinned" in fjord_here(home, "models", "pin", "tiny").stdout
    for url in (api(server), ops(server)):
        listed = fjord_here(home, "models", "unpin", "tiny", "--url", url)
        assert "not pinned" in listed.stdout, listed.stderr
    assert fjord_here(home, "apply").stdout == "Nothing differs.\n"
    assert fjord_here(home, "run", "tiny", "hei du").stdout == "hei du\n"
    asked = fjord_here(home, "conform", "--only", "paths")
    assert asked.returncode == 0, asked.stdout + asked.stderr
    stranger = {"FJORD_URL": api(server), "FJORD_API_KEY": server.key()}
    listed = fjord_here(home, "models", "--data-dir", "other", **stranger)
    assert f"The server at {api(server)}" in listed.stdout, listed.stderr
    assert alive(home) == 0


@pytest.mark.slow
def test_a_drain_is_told_there(tmp_path: Path) -> None:
    home = with_registry(tmp_path, token_delay_s=0.02)
    with serving(home, "--no-auth", "--ops-port", "0") as server:
        server.until("Ready")
        where = f"{ops(server)}/ready"
        assert httpx.get(where).status_code == 200
        with streaming(api(server), max_tokens=500, ignore_eos=True) as lines:
            next(lines)
            server.process.send_signal(signal.SIGTERM)
            wait_until(lambda: httpx.get(where).status_code == 503, "it is told")
            assert "drain" in httpx.get(where).json()["refusing"]
            assert [*lines][-1] == "data: [DONE]"
        assert server.process.wait(30) == 0


@pytest.mark.slow
def test_with_tls_both_ports_speak_it_and_a_socket_does_not(tmp_path: Path) -> None:
    home, pair = with_registry(tmp_path), made()
    cert, key = pair.lie_at(home)
    flags = ("--tls-cert", str(cert), "--tls-key", str(key), "--ops-port", "0", "--uds", "s")
    with serving(home, *flags, has_port=False) as server:
        server.until("Ready")
        assert ops(server).startswith("https://")
        with httpx.Client(verify=pair.trusted()) as ours:
            assert ours.get(f"{ops(server)}/ready").status_code == 200
        assert "pinned" in fjord_here(home, "models", "pin", "tiny").stdout
        assert fjord_here(home, "run", "tiny", "hei du").stdout == "hei du\n"
        transport = httpx.HTTPTransport(uds=str(home / "s"))
        with httpx.Client(transport=transport, base_url="http://localhost") as ours:
            assert ours.get("/ready").status_code == 404


def test_every_path_is_on_one_of_them(tmp_path: Path) -> None:
    def paths(app: FjordApp) -> set[str]:
        return {getattr(route, "path", "") for route in app.routes}

    settings = {"ops_port": 0}
    alone, _ = prepared(tmp_path / "one", build=ScriptedEngine)
    apart, served = prepared(tmp_path / "two", build=ScriptedEngine, settings=settings)
    public, operators = paths(apart.app), paths(apart.app.ops.app)
    assert public | operators == paths(alone.app)
    assert public & operators == BOTH
    assert set(apart.app.hot) == set(alone.app.hot)
    assert apart.app.ops.app.hot == {}
    assert alone.app.ops is None
    served.services.ledger.lock.release()
