"""Web pages: others' get nothing from a server without keys; CORS for those that it is told of."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from server.refusal import CannotStart
from server.settings import read_settings
from tests.support.serving import Served, scripted, serving

CHAT = "/v1/chat/completions"
ASK = {"model": "m", "messages": [{"role": "user", "content": "go"}]}
PAGE = "https://chat.example"
PATHS = [CHAT, "/v1/models", "/v1/models/m", "/v1/nowhere", "/health", "/openapi.json", "/nowhere"]


@pytest.fixture(scope="module")
def is_open(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("open")
    with serving(home, scripted("m"), settings={"no_auth": True}) as server:
        yield server


@pytest.fixture(scope="module")
def cors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("cors")
    settings = {"cors_origin": (PAGE + "/", "http://localhost:3000")}
    with serving(home, scripted("m"), settings=settings) as server:
        yield server


def post(server: Served, **headers: str) -> httpx.Response:
    return httpx.post(server.url + CHAT, headers=named(headers), json=ASK)


def named(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Host": "localhost"},
        {"Host": "LOCALHOST:8080"},
        {"Host": "fjord.localhost:8080"},
        {"Host": "127.0.0.1"},
        {"Host": "127.1.2.3:99"},
        {"Host": "[::1]:8080"},
        {"Host": "localhost:8080", "Origin": "http://localhost:8080"},
        {"Host": "localhost", "Origin": "http://localhost:80"},
        {"Sec_Fetch_Site": "same-origin"},
        {"Sec_Fetch_Site": "none"},
    ],
)
def test_this_machines_programs_are_served_without_a_key(
    is_open: Served, headers: dict[str, str]
) -> None:
    assert post(is_open, **headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:8080"},
        {"Host": "localhost.evil.example"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "192.168.1.2:8080"},
        {"Host": "[::2]:8080"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://[oops"},
        {"Host": "localhost:8080", "Origin": "http://localhost:3000"},
        {"Host": "localhost:8080", "Origin": "https://localhost:8080"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"},
    ],
)
def test_other_pages_are_refused_without_a_key(is_open: Served, headers: dict[str, str]) -> None:
    answer = post(is_open, **headers)
    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "INSUFFICIENT_PERMISSIONS"
    assert answer.headers["x-request-id"].startswith("req_")
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("path", PATHS)
def test_no_path_answers_another_page(is_open: Served, path: str) -> None:
    answer = httpx.get(is_open.url + path, headers={"Origin": "https://evil.example"})
    assert answer.status_code == 403


def test_a_link_to_the_documentation_works(is_open: Served) -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert httpx.get(is_open.url + "/docs", headers=headers).status_code == 200


def test_with_keys_the_key_decides(tmp_path: Path) -> None:
    with serving(tmp_path, scripted("m")) as server:
        headers = {"Host": "llm.example", "Origin": PAGE, "Sec_Fetch_Site": "cross-site"}
        answer = post(server, **headers, **server.headers)
        assert answer.status_code == 200
        assert "access-control-allow-origin" not in answer.headers
        assert httpx.options(server.url + CHAT, headers={"Origin": PAGE}).status_code == 405


@pytest.mark.parametrize("path", [*PATHS, "/admin/v1/keys"])
def test_a_preflight_needs_no_key(cors: Served, path: str) -> None:
    headers = {
        "Origin": PAGE,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    answer = httpx.options(cors.url + path, headers=headers)
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert answer.headers["access-control-allow-headers"] == "authorization,content-type"
    assert answer.headers["vary"] == "Origin"
    assert answer.content == b""


@pytest.mark.parametrize("origin", ["https://evil.example", "http://chat.example", "null"])
def test_a_page_that_is_not_named_gets_no_permission(cors: Served, origin: str) -> None:
    headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    for answer in (
        httpx.options(cors.url + CHAT, headers=headers),
        httpx.post(cors.url + CHAT, headers=headers | cors.headers, json=ASK),
    ):
        assert not [name for name in answer.headers if name.startswith("access-control")]
        assert answer.headers["vary"] == "Origin"


@pytest.mark.parametrize("path", PATHS)
def test_every_answer_to_a_named_page_says_so_once(cors: Served, path: str) -> None:
    """Errors too: else the page could not read them."""
    answer = httpx.get(cors.url + path, headers={"Origin": PAGE})
    assert answer.headers.get_list("access-control-allow-origin") == [PAGE]
    assert len(answer.headers.get_list("x-request-id")) == 1
    assert "X-Request-Id" in answer.headers["access-control-expose-headers"]


@pytest.mark.parametrize("headers", [{}, {"X-API-Key": "no"}])
@pytest.mark.parametrize("stream", [False, True])
def test_whole_answers_streams_and_refusals_say_so(
    cors: Served, stream: bool, headers: dict[str, str]
) -> None:
    headers = cors.headers | {"Origin": "http://localhost:3000"} | headers
    answer = httpx.post(cors.url + CHAT, headers=headers, json=ASK | {"stream": stream})
    assert answer.headers.get_list("access-control-allow-origin") == ["http://localhost:3000"]


def test_a_named_page_may_call_a_server_without_keys(tmp_path: Path) -> None:
    settings = {"no_auth": True, "cors_origin": (PAGE,)}
    with serving(tmp_path, scripted("m"), settings=settings) as server:
        allowed = post(server, Origin=PAGE, Sec_Fetch_Site="cross-site")
        assert allowed.status_code == 200
        assert allowed.headers["access-control-allow-origin"] == PAGE
        assert post(server, Origin="https://evil.example").status_code == 403
        assert post(server, Origin=PAGE, Host="evil.example").status_code == 403


def test_every_page_may_be_named(tmp_path: Path) -> None:
    with serving(tmp_path, scripted("m"), settings={"cors_origin": ("*",)}) as server:
        answer = post(server, Origin=PAGE, **server.headers)
        assert answer.headers["access-control-allow-origin"] == PAGE


def test_what_is_no_origin_is_refused_at_the_start() -> None:
    with pytest.raises(CannotStart, match=r"--cors-origin 'chat\.example'"):
        read_settings(cors_origin=["https://ok.example", "chat.example"])
